"""Further tries of an export that fails with every axis free: the axes of features fixed at the example's sizes."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from rnnx.errors import BrokenExtraError, ExportError, UntracedError
from rnnx.tracing.recurrence_nodes import RecurrenceNode, Size
from rnnx.tracing.sizes.dims import expression_of
from rnnx.tracing.sizes.moving_axes import Axis, AxisTrials

Free = tuple[tuple[int, ...], ...]
"""For each axis of each input whether it may vary."""

_Found = TypeVar("_Found")
_Report = TypeVar("_Report")


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
    finish: Callable[[_Found], _Report],
    is_right: Callable[[_Found, frozenset[Axis], Collection[str]], bool],
    choice: Choice,
    trials: Callable[[], AxisTrials],
    tensors: Sequence[Tensor],
    names: Sequence[str],
) -> tuple[_Found, _Report, frozenset[Axis], frozenset[Axis], str]:
    """What the first good try gives: all axes free, then those that the model takes, then those that its layers follow.

    Args:
        attempt: traces and translates with these axes free.
        finish: writes that, and raises ExportError where it gives other values than the model.
        is_right: whether what it gave, with these axes fixed, is good, where some axis moves these of a layer's "B" and
            "T"; the first that is not serves where none is.
        choice: the axes of the first try.
        trials: runs the model at other sizes; is called where the first try is no good.
        tensors: the example's.
        names: of the inputs.

    Returns:
        That and its report, the axes that were fixed, those of them that the model takes at other sizes, and what
        the first try stopped at.

    Raises:
        ExportError, BrokenExtraError: what the first try raised, where none is good.
    """
    first: ExportError | BrokenExtraError | None = None
    doubtful: _Found | None = None
    for own, tried in _choices(choice, trials):
        try:
            found, fixed = attempt(own.free), choice.axes - own.axes
        except (UntracedError, BrokenExtraError) as error:
            first = first or error
            continue
        except ExportError:
            if own is choice:
                raise
            continue
        if not is_right(found, fixed, frozenset(tried.moving.values())):
            doubtful = found if own is choice else doubtful
            continue
        try:
            return found, finish(found), fixed, fixed & tried.taken, "" if first is None else first.subject
        except ExportError as error:
            first = first or error
    if doubtful is not None:
        return doubtful, finish(doubtful), frozenset(), frozenset(), ""
    assert first is not None
    raise first if choice.named else _with_lines(first, input_lines(names[: choice.given], tensors, tried.moving))


def _choices(choice: Choice, trials: Callable[[], AxisTrials]) -> Iterator[tuple[Choice, AxisTrials]]:
    """The choice itself; then, once that has failed, those with fewer free axes."""
    tried, seen = AxisTrials(taken=frozenset(), moving={}), [choice]
    yield choice, tried
    tried = trials()
    first_axes = {(place, axis) for place, axis in tried.taken if axis == 0}  # mostly a batch, if no layer's
    for kept in (tried.taken, frozenset(tried.moving) | first_axes):
        fewer = choice.kept(kept)
        if fewer not in seen and tried.moving:
            seen.append(fewer)
            yield fewer, tried


def fixed_note(
    fixed: Iterable[Axis], names: Sequence[str], tensors: Sequence[Tensor], stopped_at: str
) -> Iterator[str]:
    """A note on the axes that were fixed so that the model could be written, with what stopped a try with all free."""
    told = [f"axis {axis} of {names[place]} ({tensors[place].shape[axis]})" for place, axis in sorted(fixed)]
    if told:
        where = f" ({stopped_at})" if stopped_at else ""
        yield f"fixed at the example's sizes, for they cannot be free{where}: {', '.join(told)}"


def step_note(calls: Sequence[RecurrenceNode], fixed: Iterable[Axis], tensors: Sequence[Tensor]) -> Iterator[str]:
    """A note on a layer that runs one step at a time, as the example does, where the model drops that axis."""
    steps = [own.layer for own in calls if own.time is not None and expression_of(own.time) == 1]
    if steps and any(tensors[place].shape[axis] == 1 for place, axis in fixed):
        yield f"layer {steps[0]!r} runs one step at each call, as in the example: the model takes no other time so"


def input_lines(names: Sequence[str], tensors: Sequence[Tensor], moving: Mapping[Axis, str]) -> str:
    """The `--input` options that name the axes that may vary and fix the others, and the same as `dims`, to copy."""
    roles = moving or {(place, axis): role for place in range(len(names)) for axis, role in enumerate("BT")}
    sizes = {
        axis: (role, tensors[axis[0]].shape[axis[1]])
        for axis, role in sorted(roles.items())
        if _is_there(axis, tensors)
    }
    symbols: dict[tuple[str, int], str] = {}
    for role, size in sizes.values():  # one name is one size
        other = f"D{len(symbols)}" if role in symbols.values() else role
        symbols.setdefault((role, size), other)
    named = {axis: symbols[own] for axis, own in sizes.items()}
    lines = " ".join(_input_line(name, tensors[place], place, named) for place, name in enumerate(names))
    dims = {
        name: tuple(named.get((place, axis)) for axis in range(tensors[place].dim()))
        for place, name in enumerate(names)
    }
    return f"{lines} (dims={dims})"


def _is_there(axis: Axis, tensors: Sequence[Tensor]) -> bool:
    return axis[1] < tensors[axis[0]].dim()


def traced_roles(shapes: Iterable[Sequence[Size]], calls: Sequence[RecurrenceNode]) -> dict[Axis, str]:
    """The axes that a trace left free and that reach a layer's batch or time, by what they are."""
    found: dict[Axis, str] = {}
    for role, sizes in (("T", [own.time for own in calls]), ("B", [own.batch for own in calls])):
        symbols = {symbol for size in sizes if size is not None for symbol in expression_of(size).free_symbols}
        for place, shape in enumerate(shapes):
            own = {(place, axis): role for axis, size in enumerate(shape) if expression_of(size) in symbols}
            found = own | found
    return found


def _input_line(name: str, tensor: Tensor, place: int, roles: Mapping[Axis, str]) -> str:
    dims = [f"{roles[place, axis]}={n}" if (place, axis) in roles else str(n) for axis, n in enumerate(tensor.shape)]
    return f"--input {name}:{str(tensor.dtype).removeprefix('torch.')}:{','.join(dims)}"


def _with_lines(error: ExportError | BrokenExtraError, lines: str) -> ExportError | BrokenExtraError:
    if not isinstance(error, UntracedError):
        return error
    remedy = f"{error.remedy}; or fix the axes that need not vary: {lines} (None in dims)"
    return UntracedError(error.subject, got=error.got, expected=error.expected, remedy=remedy)


def fixes_a_layer(calls: Sequence[RecurrenceNode], fixed: Sequence[int], moved: Collection[str] = "BT") -> bool:
    """Whether a layer's batch or time is a number that a fixed axis has, or none is free; a step has a time of 1.

    `moved` are the roles that some axis moves: a layer over the model's own context has no free time to lose.
    """
    for role in ("batch", "time"):
        sizes = [size for own in calls if (size := getattr(own, role)) is not None]
        numbers = [int(size) for size in sizes if not isinstance(size, torch.SymInt) or expression_of(size).is_Integer]
        if any(size in fixed for size in numbers if size > 1 or role == "batch"):
            return True
        if role[0].upper() in moved and numbers and max(numbers) > 1 and len(numbers) == len(sizes) and fixed:
            return True
    return False
