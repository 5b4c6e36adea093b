"""Cells written by hand in a loop's step: which places compute the next states, and of which inputs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from torch import Tensor, nn

from rnnx.tracing.loops.affine import Affine
from rnnx.tracing.loops.all_steps import is_step_of_sequence
from rnnx.tracing.loops.cell_values import CellStep, cell_of
from rnnx.tracing.loops.rolled import Inner, Loop, Rolled, State, Varying, leaves_in
from rnnx.tracing.loops.shapes import Shapes
from rnnx.tracing.loops.splitting import Places, places_needed, reads_only
from rnnx.tracing.loops.step_function import StepFunction, UnknownValueError
from rnnx.tracing.loops.values import Slice

_PRODUCTS = frozenset(("linear", "addmm", "matmul", "mm"))
_ACTIVATIONS = frozenset(("sigmoid", "tanh", "relu"))
_AFFINE = _PRODUCTS | {
    "cat", "stack", "chunk", "split", "split_with_sizes", "slice", "narrow", "select", "squeeze", "unsqueeze",
    "add", "sub", "neg",
}  # fmt: skip
_KNOWN = _AFFINE | _ACTIVATIONS | {"mul", "rsub", "lerp", "addcmul", "dropout", "t", "transpose", "unbind"}
"""Sums, products and activations: a step of these alone is a cell's everywhere if it is at random values."""


@dataclass(frozen=True, kw_only=True)
class HandWrittenCell:
    """A cell of PyTorch that a step computes: the places that it stands for, its states (h first), and its x."""

    cell: nn.RNNCellBase
    places: Places
    states: tuple[int, ...]
    inputs: tuple[Any, ...]


class _NoCellError(Exception):
    """A step that is no cell of PyTorch."""


def hand_written_cell(
    rolled: Rolled, number: int, module: nn.Module, tensors: Sequence[Tensor]
) -> HandWrittenCell | None:
    """The first cell in the step of a loop; None where there is none. `tensors` are the example's."""
    loop = rolled.loops[number]
    assert isinstance(loop, Loop)
    for states in _cycles(loop):
        core = _core(loop, states)
        for absorbs in (True, False):
            for ordered in permutations(states):
                try:
                    return _Finder(rolled, number, module, tensors, core, absorbs=absorbs).cell(ordered)
                except (_NoCellError, UnknownValueError, RuntimeError, ValueError, TypeError, IndexError):
                    continue
    return None


def _cycles(loop: Loop) -> Iterator[tuple[int, ...]]:
    """One or two states of which each becomes the other."""
    edges = [_within(loop, own.after)[1] for own in loop.states]

    def reached(state: int) -> set[int]:
        found, waiting = set[int](), [state]
        while waiting:
            new = edges[waiting.pop()] - found
            found |= new
            waiting += new
        return found

    reach = [reached(own) for own in range(len(edges))]
    cycles = {tuple(sorted(other for other in reach[own] if own in reach[other])) for own in range(len(edges))}
    return (own for own in sorted(cycles) if 1 <= len(own) <= 2)


def _within(loop: Loop, value: Any) -> tuple[set[int], set[int]]:
    """The places and the states of the same step that a value is computed from."""
    places, states, waiting = set[int](), set[int](), [value]
    while waiting:
        for leaf in leaves_in(waiting.pop()):
            if isinstance(leaf, State):
                states.add(leaf.number)
            elif isinstance(leaf, Inner) and leaf.place not in places:
                places.add(leaf.place)
                waiting.append(loop.step[leaf.place].leaves)
    return places, states


def _core(loop: Loop, states: Sequence[int]) -> Places:
    """The places between these states and the next ones."""
    places = set[int]().union(*(_within(loop, loop.states[own].after)[0] for own in states))
    return tuple(sorted(own for own in places if _within(loop, Inner(place=own))[1] & {*states}))


class _Finder:
    """Looks for a cell in a core. What the core reads of the sequence is taken before products of it (`absorbs`)."""

    def __init__(
        self,
        rolled: Rolled,
        number: int,
        module: nn.Module,
        tensors: Sequence[Tensor],
        core: Places,
        *,
        absorbs: bool,
    ) -> None:
        loop = rolled.loops[number]
        assert isinstance(loop, Loop)
        self._rolled, self._number, self._loop, self._core, self._absorbs = rolled, number, loop, core, absorbs
        self._function = StepFunction(rolled, loop, module)
        self._shapes = Shapes(rolled, loop, tensors)
        self._inputs: dict[Any, None] = {}
        self._absorbed: set[int] = set()

    def cell(self, states: tuple[int, ...]) -> HandWrittenCell:
        """The cell with these states, h first.

        Raises:
            _NoCellError: there is none.
        """
        after = [self._loop.states[own].after for own in states]
        ends = {(own.place, own.part) for own in after if isinstance(own, Inner)}
        first = after[0]
        if len(ends) != len(states) or not isinstance(first, Inner):
            raise _NoCellError
        if not reads_only(self._rolled, self._number, self._core, {(first.place, first.part)}, ends):
            raise _NoCellError
        for place in self._core:
            self._visit(self._loop.step[place].leaves, states)
        self._check_operators()
        inputs = tuple((own, self._width(own)) for own in self._inputs)
        step = CellStep(
            function=self._function,
            loop=self._loop,
            inputs=inputs,
            states=states,
            hidden=self._width(first),
            activations=tuple(own for own in self._core if self._name(own) in _ACTIVATIONS),
        )
        found = (
            cell_of(step)
            if inputs and {*self._core}.isdisjoint(places_needed(self._loop, tuple(self._inputs)))
            else None
        )
        if found is None:
            raise _NoCellError
        return HandWrittenCell(cell=found, places=self._core, states=states, inputs=tuple(self._inputs))

    def _check_operators(self) -> None:
        names = {self._name(own) for own in self._core}
        if not names <= _KNOWN or not names & _PRODUCTS:
            raise _NoCellError

    def _visit(self, leaf: Any, states: Sequence[int]) -> None:
        """Find what a value reads of the sequence, or of all that is no weight."""
        if isinstance(leaf, tuple):
            for own in leaf:
                self._visit(own, states)
        elif isinstance(leaf, State):
            if leaf.number not in states:
                raise _NoCellError
        elif isinstance(leaf, Inner):
            self._visit_place(leaf, states)
        elif self._absorbs and (frame := self._function.before_product(leaf)) is not None:
            self._visit(frame, states)
        elif isinstance(leaf, Slice) and not is_step_of_sequence(leaf) and not leaf.start.by_step:
            self._visit(leaf.source, states)
        elif isinstance(leaf, Varying) or (isinstance(leaf, Affine) and leaf.by_step):
            raise _NoCellError
        elif not self._function.is_known(leaf):
            self._inputs[leaf] = None

    def _visit_place(self, leaf: Inner, states: Sequence[int]) -> None:
        if leaf.place in self._core or leaf.place in self._absorbed or self._function.is_known(leaf):
            return
        if self._absorbs and self._name(leaf.place) in _AFFINE and not _within(self._loop, leaf)[1]:
            self._absorbed.add(leaf.place)
            self._visit(self._loop.step[leaf.place].leaves, states)
        else:
            self._inputs[leaf] = None

    def _name(self, place: int) -> str:
        return self._loop.step[place].instruction.name

    def _width(self, leaf: Any) -> int:
        """The last size of a value `(B, I)`."""
        shape = self._shapes.of(leaf)
        if shape is None or len(shape) != 2:
            raise _NoCellError
        return int(shape[1])
