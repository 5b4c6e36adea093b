"""The options of an engine, and which of them a library and a model can take."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rnnx.engines.profiles import check_profiles, default_profile
from rnnx.engines.tensorrt_library import TensorRTLibrary
from rnnx.errors import OptionError
from rnnx_runtime.contract import Contract
from rnnx_runtime.files.regular_file import found_at
from rnnx_runtime.files.sidecar import Flavor, Profile

OPTIMIZATION_LEVELS = range(6)
"""TensorRT's levels; 3 is its default. A higher one would be lowered to 5 without a word."""


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """What to build an engine for and how.

    `flavor` is, left out, the library that is installed. `profiles` are, left out, one profile of defaults. `targets`
    are compute capabilities such as `"8.9"`, for `tensorrt-rtx` alone, which builds a portable plan without them.
    `timing_cache` is a file that is read where it exists and written after the build, for `tensorrt` alone. A graph of
    so many nodes that TensorRT takes more than a minute is refused but for `allow_large`.
    """

    flavor: Flavor | None = None
    profiles: tuple[Profile, ...] = ()
    targets: tuple[str, ...] = ()
    workspace_mib: int | None = None
    tf32: bool = True
    optimization_level: int | None = None
    timing_cache: Path | None = None
    allow_large: bool = False


def completed(
    options: EngineOptions, library: TensorRTLibrary, contract: Contract, default: Profile | None = None
) -> EngineOptions:
    """The options with default profiles filled in, or with `default`, after all of them were checked.

    Raises:
        OptionError: one does not fit the library or the model.
    """
    check_profiles(options.profiles, contract)
    for check in (_check_targets, _check_timing_cache):
        check(options, library)
    if contract.precision == "float32" and "7.5" in options.targets:
        raise _refused("targets", "7.5 for a float32 model", "8.0 or newer", "TensorRT has no float32 GEMM for 7.5")
    _check_size("workspace_mib", options.workspace_mib, lambda size: 1 <= size <= 2**30, "a whole number ≥ 1, in MiB")
    _check_size("optimization_level", options.optimization_level, lambda n: n in OPTIMIZATION_LEVELS, "0 to 5")
    return replace(
        options,
        profiles=options.profiles or (default or default_profile(contract),),
        targets=tuple(dict.fromkeys(options.targets)),
    )


def _check_targets(options: EngineOptions, library: TensorRTLibrary) -> None:
    for target in options.targets:
        if library.builds_for_its_own_gpu:
            remedy = "build on a GPU like the one to run on, or use flavor tensorrt-rtx"
            raise _refused("targets", f"{target} with {library.name}", "no target: it builds for its GPU", remedy)
        if target not in library.targets:
            remedy = "name one of these, or leave it out for a portable plan"
            raise _refused("targets", target, f"one of {', '.join(library.targets)}", remedy)


def _check_timing_cache(options: EngineOptions, library: TensorRTLibrary) -> None:
    path = options.timing_cache
    if path is None:
        return
    if not library.builds_for_its_own_gpu:
        remedy = "leave it out: this library times nothing while it builds"
        raise _refused("timing_cache", f"it with {library.name}", "it with flavor tensorrt alone", remedy)
    if found_at(path) == "folder" or found_at(path.parent) != "folder":
        raise _refused("timing_cache", str(path), "a file in a folder that exists", "create the folder or name a file")


def _check_size(option: str, value: Any, holds: Callable[[int], bool], expected: str) -> None:
    if value is not None and not (type(value) is int and holds(value)):
        raise _refused(option, str(value), expected, "leave it out for TensorRT's own choice")


def _refused(option: str, got: str, expected: str, remedy: str) -> OptionError:
    return OptionError(option, got=got, expected=expected, remedy=remedy)
