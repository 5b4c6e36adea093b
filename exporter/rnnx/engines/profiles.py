"""Optimization profiles: the sizes a plan is built for, written `B=1:8:64,T=1:50:500` on the command line."""

import re
from collections.abc import Iterable, Mapping

from rnnx.errors import OptionError
from rnnx_runtime.contract import Contract, SizeRange, TensorSpec
from rnnx_runtime.files.sidecar import Profile, Range, ranges_of

DEFAULT_RANGES = {"B": Range(min=1, opt=8, max=64), "T": Range(min=1, opt=64, max=512)}
"""What a dim may be when no profile is given: single requests up to a service's usual batch and sequence."""

OTHER_RANGE = Range(min=1, opt=16, max=256)
"""The same of a whole model's further dims, of which their names say nothing."""

LARGEST_SIZE = 2**31 - 1
"""TensorRT's dims are read as int32 in most of its kernels."""

_RANGE = re.compile(r"\s*(\w+)\s*=\s*(\d{1,12})\s*:\s*(\d{1,12})\s*:\s*(\d{1,12})\s*", re.ASCII)
_GRAMMAR = "NAME=MIN:OPT:MAX, several joined with commas"


def profiles_from_texts(texts: Iterable[str]) -> tuple[Profile, ...]:
    """The profiles in the values of repeated `--profile` options.

    Values that name different dims fill one profile; a value that repeats a dim starts the next:
    `B=1:8:64`, `T=1:50:500` is one profile, `B=1:1:1,T=1:50:500`, `B=8:8:8,T=1:50:500` are two.

    Raises:
        OptionError: a value is not of the form `NAME=MIN:OPT:MAX`, or names a dim twice.
    """
    profiles: list[dict[str, Range]] = []
    for text in texts:
        ranges = _ranges_from_text(text)
        if not profiles or ranges.keys() & profiles[-1].keys():
            profiles.append({})
        profiles[-1].update(ranges)
    return tuple(profiles)


def text_from_profile(profile: Profile) -> str:
    """A profile as `--profile` takes it: `B=1:8:64,T=1:50:500`."""
    return ",".join(f"{dim}={sizes.min}:{sizes.opt}:{sizes.max}" for dim, sizes in profile.items())


def symbolic_dims(contract: Contract) -> tuple[str, ...]:
    """The dims of a model whose size is free: B, T for an encoder, and those that a whole model names."""
    return tuple(sorted(contract.free_dims))


def default_profile(contract: Contract) -> Profile:
    """The profile of a model when none is given."""
    return {dim: _within(default_range(dim), contract.ranges.get(dim)) for dim in symbolic_dims(contract)}


def _within(own: Range, sizes: SizeRange | None) -> Range:
    """A range inside of the sizes that the model takes."""
    return (
        own
        if sizes is None
        else Range(min=sizes.nearest(own.min), opt=sizes.nearest(own.opt), max=sizes.nearest(own.max))
    )


def default_range(dim: str) -> Range:
    """The sizes of a dim when no profile is given."""
    return DEFAULT_RANGES.get(dim, OTHER_RANGE)


def check_profiles(profiles: Iterable[Profile], contract: Contract) -> None:
    """Refuse profiles that do not give every symbolic dim of the model, and nothing else, a range in order.

    Raises:
        OptionError: a dim is unknown or missing, a size is below 1 or too large, or min ≤ opt ≤ max does not hold.
    """
    dims = symbolic_dims(contract)
    for number, profile in enumerate(profiles, 1):
        _check_dims(profile, dims, f"profile {number}")
        for dim, sizes in profile.items():
            _check_range(sizes, f"profile {number}, dim {dim}")


def shapes_from_profile(profile: Profile, spec: TensorSpec) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """One input's min, opt and max shape."""
    ranges = ranges_of(profile, spec)
    return tuple(r.min for r in ranges), tuple(r.opt for r in ranges), tuple(r.max for r in ranges)


def _ranges_from_text(text: str) -> Mapping[str, Range]:
    ranges: dict[str, Range] = {}
    for part in text.split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise OptionError("profiles", got=repr(text), expected=_GRAMMAR, remedy="write it like B=1:8:64,T=1:50:500")
        dim, *sizes = match.groups()
        if dim in ranges:
            raise OptionError(
                "profiles",
                got=f"{dim} twice in {text!r}",
                expected="each dim once",
                remedy="give another text for a second profile",
            )
        ranges[dim] = Range(**dict(zip(("min", "opt", "max"), map(int, sizes), strict=True)))
    return ranges


def _check_dims(profile: Profile, dims: tuple[str, ...], subject: str) -> None:
    expected = f"a range for each of {', '.join(dims)}"
    for dim in profile:
        if dim not in dims:
            raise OptionError(subject, got=f"an unknown dim {dim!r}", expected=expected, remedy=f"leave {dim} out")
    for dim in dims:
        if dim not in profile:
            remedy = f"add {dim}=MIN:OPT:MAX, such as {text_from_profile({dim: default_range(dim)})}"
            raise OptionError(subject, got=f"no range for {dim}", expected=expected, remedy=remedy)


def _check_range(sizes: Range, subject: str) -> None:
    ordered = (sizes.min, sizes.opt, sizes.max)
    if not all(type(size) is int and 1 <= size <= LARGEST_SIZE for size in ordered):
        expected, remedy = f"sizes from 1 to {LARGEST_SIZE}", "an engine takes no empty tensors"
    elif not sizes.min <= sizes.opt <= sizes.max:
        expected, remedy = "min ≤ opt ≤ max", f"write {':'.join(map(str, sorted(ordered)))}"
    else:
        return
    raise OptionError(subject, got=":".join(map(str, ordered)), expected=expected, remedy=remedy)
