"""What loops go over: axes as a whole, or a number of steps that a model makes of an axis, as of every second frame."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import sympy  # type: ignore[import-untyped]
from torch.utils._sympy.functions import FloorDiv

from rnnx.tracing.loops.values import size_symbol
from rnnx.tracing.sizes.dims import expression_of
from rnnx.tracing.sizes.guards import SizeGuard
from rnnx.tracing.tracing import Trace

LENGTHS = (4, 5, 6)
"""The steps of loops in the three traces: enough for two equal ones, and not 1, which torch.export broadcasts."""

Axes = frozenset[tuple[int, int]]

_RANGE = re.compile(r"\brange\((\d+), [^,]*?( ?[-+] ?\d+)?, (\d+)\)")

_LARGEST, _TRIED, _FARTHEST = 2**15, 128, 8
"""No longer axis is tried for a loop of a few steps, nor more sizes, nor loops that are farther apart."""


@dataclass(frozen=True, kw_only=True)
class Turns:
    """The axes that loops go over, by input and axis, and how many steps that is, of `size_symbol`s.

    `sizes` are the axes' where the loops have `lengths` steps, which are equally far apart.
    """

    axes: Axes
    steps: Any
    sizes: tuple[int, ...] = LENGTHS
    lengths: tuple[int, ...] = LENGTHS
    is_whole: bool = True

    def shorter(self, by: int) -> "Turns":
        """The same axes where loops have fewer steps."""
        return replace(self, steps=self.steps - by, sizes=tuple(own + by for own in self.sizes))


def whole_turns(axes: Axes) -> Turns:
    """A step for each element of these axes, which are equally long."""
    return Turns(axes=axes, steps=size_symbol(*min(axes)))


def strided_turns(axes: Axes, code: str) -> Iterator[Turns]:
    """The steps of `range(0, n, 2)` in a line of code, where `n` may be these axes' size or a number less or more.

    Python's `range` takes plain numbers alone, so that no guard says how many steps there are.
    """
    for start, stop, stride in _RANGE.findall(code):
        if int(stride) < 2:
            continue
        symbol = size_symbol(*min(axes))
        size = symbol + int(stop.replace(" ", "") or 0)
        steps = FloorDiv(size - int(start) + int(stride) - 1, int(stride))
        sizes = _sizes(steps, symbol)
        if sizes:
            yield Turns(axes=axes, steps=steps, sizes=tuple(sizes.values()), lengths=tuple(sizes))


def made_turns(found: Trace) -> Iterator[Turns]:
    """The numbers of steps of loops that a trace has copied and that are made of one axis, each once."""
    places = dict[Any, set[tuple[int, int]]]()
    for own, size in input_sizes(found):
        places.setdefault(size, set()).add(own)
    done = set[Any]()
    for guard in found.guards:
        made = [own for own in guard.condition.args if not own.is_Atom] if guard.steps is not None else []
        if len(made) != 1 or made[0] in done or len(made[0].free_symbols) != 1:
            continue
        done.add(made[0])
        (symbol,) = made[0].free_symbols
        sizes = _sizes(made[0], symbol)
        if symbol in places and sizes:
            steps = made[0].xreplace({symbol: size_symbol(*min(places[symbol]))})
            lengths = tuple(sizes)
            yield Turns(
                axes=frozenset(places[symbol]),
                steps=steps,
                sizes=tuple(sizes.values()),
                lengths=lengths,
                is_whole=False,
            )


def _sizes(steps: Any, symbol: Any) -> dict[int, int]:
    """Sizes of an axis by the numbers of steps of three traces, of several remainders where there are several.

    The axis is no longer than it must be: of a step for each 512 samples it is longer than of one for each frame.
    """
    longest = _TRIED
    while longest <= _LARGEST:
        found = _sizes_up_to(longest, steps, symbol)
        if found:
            return found
        longest *= 4
    return {}


def _sizes_up_to(longest: int, steps: Any, symbol: Any) -> dict[int, int]:
    found = dict[int, list[int]]()
    for size in range(2, longest, longest // _TRIED):
        count = steps.xreplace({symbol: sympy.Integer(size)})
        if count.is_Integer and count >= LENGTHS[0]:
            found.setdefault(int(count), []).append(size)
    for first, apart in product(sorted(found), range(1, _FARTHEST + 1)):
        lengths = [first + apart * turn for turn in range(3)]
        if all(own in found for own in lengths) and lengths[0] < LENGTHS[0] + apart:
            return {own: found[own][-1 if turn % 2 else 0] for turn, own in enumerate(lengths)}
    return {}


def input_sizes(trace: Trace) -> Iterator[tuple[tuple[int, int], Any]]:
    """The size of each axis of the inputs as an expression, by input and axis."""
    nodes = {node.name: node for node in trace.program.graph.nodes if node.op == "placeholder"}
    for place, name in enumerate(trace.program.graph_signature.user_inputs):
        for axis, size in enumerate(nodes[name].meta["val"].shape):
            yield (place, axis), expression_of(size)


def guards_of_model(copied: Trace, rolled: Trace) -> Iterator[SizeGuard]:
    """What the model's own lines asked of sizes in a trace with copied steps, in symbols of one with rolled loops."""
    sizes = dict(input_sizes(rolled))
    symbols = {own: sizes[place] for place, own in input_sizes(copied) if own.is_Symbol}
    for guard in copied.guards:
        if guard.is_own and guard.steps is None and guard.symbols <= symbols.keys():
            yield replace(guard, condition=guard.condition.xreplace(symbols))
