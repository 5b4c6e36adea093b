"""Further tries of an export that fails with every axis free: the axes of features fixed at the example's sizes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from rnnx.errors import BrokenExtraError, UntracedError
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.dims import expression_of
from rnnx.tracing.moving_axes import Axis, AxisTrials
from rnnx.tracing.recurrence_nodes import RecurrenceNode

Free = tuple[tuple[bool, ...], ...]
"""For each axis of each input whether it may vary."""

_Found = TypeVar("_Found")


def with_fewer_axes(
    attempt: Callable[[Free], _Found],
    free: Free,
    others: Callable[[], Iterable[Free]],
    fixes_a_layer: Callable[[_Found, frozenset[Axis]], bool],
) -> tuple[_Found, frozenset[Axis]]:
    """What the first try that works gives, with `free` and then with the others, and the axes that it fixes besides.

    None fixes the batch or the time of a layer.

    Raises:
        UntracedError: what the first try raised, where none works.
    """
    try:
        return attempt(free), frozenset()
    except (UntracedError, BrokenExtraError) as error:
        first = error
    for fewer in others():
        try:
            found = attempt(fewer)
        except (UntracedError, BrokenExtraError):
            continue
        fixed = frozenset(_axes(free) - _axes(fewer))
        if not fixes_a_layer(found, fixed):
            return found, fixed
    raise first


def fewer_axes(
    free: Free, trials: AxisTrials, given: int, names: Sequence[str], options: ModelOptions
) -> Iterator[Free]:
    """The axes that the model takes at other sizes; then those alone that its layers' batch and time move with.

    Those that the options name stay free, as does the batch of lifted states, which come after the `given` inputs.
    """
    seen = [free]
    for kept in (trials.taken, trials.moving):
        fewer = tuple(
            tuple(
                own
                and (
                    (place, axis) in kept or names[place] in options.dims or (place >= given and axis == len(axes) - 2)
                )
                for axis, own in enumerate(axes)
            )
            for place, axes in enumerate(free)
        )
        if fewer not in seen and trials.moving:
            seen.append(fewer)
            yield fewer


def fixed_note(fixed: Iterable[Axis], names: Sequence[str], tensors: Sequence[Tensor]) -> Iterator[str]:
    """A note on the axes that were fixed so that the model could be written."""
    told = [f"axis {axis} of {names[place]} ({tensors[place].shape[axis]})" for place, axis in sorted(fixed)]
    if told:
        yield f"fixed at the example's sizes, as the model cannot be written with them free: {', '.join(told)}"


def input_lines(names: Sequence[str], tensors: Sequence[Tensor], moving: Mapping[Axis, str]) -> str:
    """The `--input` options that name the axes that may vary and fix the others, to copy."""
    return " ".join(
        f"--input {name}:{str(tensor.dtype).removeprefix('torch.')}:"
        + ",".join(
            f"{moving[place, axis]}={size}" if (place, axis) in moving else str(size)
            for axis, size in enumerate(tensor.shape)
        )
        for place, (name, tensor) in enumerate(zip(names, tensors, strict=True))
    )


def _axes(free: Free) -> set[Axis]:
    return {(place, axis) for place, axes in enumerate(free) for axis, own in enumerate(axes) if own}


def fixes_a_layer(calls: Sequence[RecurrenceNode], fixed: Sequence[int]) -> bool:
    """Whether a layer's batch or time is a number that a fixed axis has, or none is free; a step has a time of 1."""
    for role in ("batch", "time"):
        sizes = [size for own in calls if (size := getattr(own, role)) is not None]
        numbers = [int(size) for size in sizes if not isinstance(size, torch.SymInt) or expression_of(size).is_Integer]
        if any(size in fixed for size in numbers if size > 1):
            return True
        if numbers and max(numbers) > 1 and len(numbers) == len(sizes) and fixed:
            return True
    return False
