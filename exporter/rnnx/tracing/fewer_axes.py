"""Further tries of an export that fails with every axis free: the axes of features fixed at the example's sizes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from rnnx.errors import BrokenExtraError, UntracedError
from rnnx.tracing.dims import expression_of
from rnnx.tracing.moving_axes import Axis, AxisTrials
from rnnx.tracing.recurrence_nodes import RecurrenceNode

Free = tuple[tuple[bool, ...], ...]
"""For each axis of each input whether it may vary."""

_Found = TypeVar("_Found")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The axes that are free at first; the inputs past the first `given` are lifted states, `named` the options'."""

    free: Free
    given: int
    named: frozenset[int]

    def kept(self, axes: frozenset[Axis]) -> "Choice":
        """With these axes alone free, and those of named inputs, and the batch of lifted states."""
        free = tuple(
            tuple(
                own and ((place, axis) in axes or place in self.named or (place >= self.given and axis == len(row) - 2))
                for axis, own in enumerate(row)
            )
            for place, row in enumerate(self.free)
        )
        return replace(self, free=free)

    @property
    def axes(self) -> frozenset[Axis]:
        """The free axes."""
        return frozenset((place, axis) for place, row in enumerate(self.free) for axis, own in enumerate(row) if own)


def with_fewer_axes(
    attempt: Callable[[Free], _Found],
    is_right: Callable[[_Found, frozenset[Axis]], bool],
    choice: Choice,
    trials: Callable[[], AxisTrials],
    tensors: Sequence[Tensor],
    names: Sequence[str],
) -> tuple[_Found, frozenset[Axis]]:
    """What the first good try gives: all axes free, then those that the model takes, then those that its layers follow.

    Args:
        attempt: exports with these axes free.
        is_right: whether what it gave, with these axes fixed, is good; the first that is not serves where none is.
        choice: the axes of the first try.
        trials: runs the model at other sizes; is called where the first try is no good.
        tensors: the example's.
        names: of the inputs.

    Returns:
        That, and the axes that were fixed though the model takes them at other sizes.

    Raises:
        UntracedError, BrokenExtraError: what the first try raised, where none is good.
    """
    first: UntracedError | BrokenExtraError | None = None
    fallback: _Found | None = None
    try:
        found = attempt(choice.free)
        if is_right(found, frozenset()):
            return found, frozenset()
        fallback = found
    except (UntracedError, BrokenExtraError) as error:
        first = error
    tried = trials()
    for fewer in _fewer(choice, tried):
        try:
            found = attempt(fewer.free)
        except (UntracedError, BrokenExtraError):
            continue
        fixed = choice.axes - fewer.axes
        if is_right(found, fixed):
            return found, fixed & tried.taken
    if first is None:
        assert fallback is not None
        return fallback, frozenset()
    raise _with_lines(first, input_lines(names[: choice.given], tensors, tried.moving)) if not choice.named else first


def _fewer(choice: Choice, trials: AxisTrials) -> Iterator[Choice]:
    seen = [choice]
    for kept in (trials.taken, frozenset(trials.moving)):
        fewer = choice.kept(kept)
        if fewer not in seen and trials.moving:
            seen.append(fewer)
            yield fewer


def fixed_note(fixed: Iterable[Axis], names: Sequence[str], tensors: Sequence[Tensor]) -> Iterator[str]:
    """A note on the axes that were fixed so that the model could be written."""
    told = [f"axis {axis} of {names[place]} ({tensors[place].shape[axis]})" for place, axis in sorted(fixed)]
    if told:
        yield f"fixed at the example's sizes, for torch.onnx does not take them free: {', '.join(told)}"


def input_lines(names: Sequence[str], tensors: Sequence[Tensor], moving: Mapping[Axis, str]) -> str:
    """The `--input` options that name the axes that may vary and fix the others, to copy."""
    roles = moving or {(place, axis): role for place in range(len(names)) for axis, role in enumerate("BT")}
    return " ".join(_input_line(name, tensors[place], place, roles) for place, name in enumerate(names))


def _input_line(name: str, tensor: Tensor, place: int, roles: Mapping[Axis, str]) -> str:
    dims = [f"{roles[place, axis]}={n}" if (place, axis) in roles else str(n) for axis, n in enumerate(tensor.shape)]
    return f"--input {name}:{str(tensor.dtype).removeprefix('torch.')}:{','.join(dims)}"


def _with_lines(error: UntracedError | BrokenExtraError, lines: str) -> UntracedError | BrokenExtraError:
    if isinstance(error, BrokenExtraError):
        return error
    remedy = f"{error.remedy}; or fix the axes that need not vary: {lines}"
    return UntracedError(error.subject, got=error.got, expected=error.expected, remedy=remedy)


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
