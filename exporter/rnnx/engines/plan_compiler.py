"""From a checked .onnx to a plan's bytes: parse, compare with the contract, configure, build."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from rnnx.engines.build_messages import BuildMessages, logger_for
from rnnx.engines.build_progress import monitor_for
from rnnx.engines.engine_options import EngineOptions
from rnnx.engines.parsed_network import check_network, loop_count, parse_network
from rnnx.engines.profiles import shapes_from_profile, text_from_profile
from rnnx.engines.tensorrt_library import TensorRTLibrary
from rnnx.errors import OptionError
from rnnx.progress import ProgressListener
from rnnx_runtime.contract import Contract
from rnnx_runtime.files.model_file import OnnxFile
from rnnx_runtime.files.regular_file import read_regular
from rnnx_runtime.files.sidecar import Profile

_INT64 = "has Int64 binding"
"""Of a warning that asks for what the runtime does: it binds each tensor as the contract says."""


_LARGEST_CACHE = 2**30
"""Bytes; TensorRT's timing cache of many networks has a few MiB."""


@dataclass(frozen=True, kw_only=True)
class CompiledPlan:
    """A plan's bytes, the size of the network it was built from, what TensorRT warned of, the new timing cache."""

    data: memoryview
    layers: int
    loops: int
    warnings: tuple[str, ...]
    timing_cache: bytes | None


def compile_plan(
    library: TensorRTLibrary,
    model: OnnxFile,
    options: EngineOptions,
    listener: ProgressListener | None,
    cancelled: Event,
) -> CompiledPlan:
    """Build a plan; the options are complete and checked.

    Raises:
        EngineError: TensorRT refused the graph, a profile or a target, or failed; says what it said.
        OptionError: the timing cache is of another GPU or version.
    """
    trt, messages = library.trt, BuildMessages()
    logger, monitor = logger_for(trt, messages), monitor_for(trt, listener, cancelled)
    builder = trt.Builder(logger)
    network = library.create_network(builder)
    parse_network(library, network, logger, model, messages)
    check_network(network, model.contract, str(model.path))
    config = _config(library, builder, options, messages, model.contract)
    config.progress_monitor = monitor
    data = None if cancelled.is_set() else builder.build_serialized_network(network, config)
    if data is None:
        raise messages.error(f"building {model.path} with {library.name}", "an engine")
    return CompiledPlan(
        data=memoryview(data),
        layers=network.num_layers,
        loops=loop_count(trt, network),
        warnings=tuple(text for text in messages.warnings if _INT64 not in text),
        timing_cache=bytes(config.get_timing_cache().serialize()) if options.timing_cache else None,
    )


def _config(
    library: TensorRTLibrary, builder: Any, options: EngineOptions, messages: BuildMessages, contract: Contract
) -> Any:
    trt, config = library.trt, builder.create_builder_config()
    if not options.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    if options.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if options.targets:
        library.set_targets(config, options.targets)
    if options.timing_cache is not None:
        _set_timing_cache(config, options.timing_cache)
    _add_profiles(builder, config, options.profiles, contract, messages)
    return config


def _add_profiles(
    builder: Any, config: Any, profiles: Iterable[Profile], contract: Contract, messages: BuildMessages
) -> None:
    for profile in profiles:
        native = builder.create_optimization_profile()
        for spec in contract.inputs:
            native.set_shape(spec.name, *shapes_from_profile(profile, spec))
        if config.add_optimization_profile(native) < 0:  # the reason is in the log alone
            raise messages.error(f"profile {text_from_profile(profile)}", "a profile that TensorRT takes")


def _set_timing_cache(config: Any, path: Path) -> None:
    """Start from a cache file, which TensorRT refuses with False when it is of another GPU or version."""
    try:
        data = read_regular(path, _LARGEST_CACHE)
    except FileNotFoundError:
        data = b""
    except OSError as error:
        raise OptionError(
            "timing_cache", got=f"{path}: {error.strerror}", expected="a readable file", remedy="check the path"
        ) from None
    cache = config.create_timing_cache(data)
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        raise OptionError(
            "timing_cache",
            got=f"{path}, which TensorRT refuses",
            expected="a cache of this GPU, driver and TensorRT version",
            remedy="name another file, or delete it to start anew",
        )
