"""What every value of a traced program is in a stream, and the steps that compute it there."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import lcm
from typing import Any

import sympy  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Node

from rnnx.errors import StreamingError
from rnnx.tracing.streams.fixed_values import FixedValues
from rnnx.tracing.streams.operands import Operand, StreamCaches, refused
from rnnx.tracing.streams.stream_run import Step, StreamRun
from rnnx.tracing.streams.timelines import StreamAxes, Timeline


@dataclass(frozen=True, kw_only=True)
class Scores:
    """How every frame relates to every other: the products of frames that it is made of, and all nodes up to it."""

    products: tuple[Node, ...]
    nodes: tuple[Node, ...]


@dataclass(kw_only=True)
class StreamPlan:
    """The timelines of a program's values, and the steps of those that are computed otherwise than in the trace.

    `results` are outputs that are given later than they are computed. `positions` are computed of the numbers of
    frames, for any lag; `edges` are the frames that a whole begins with; `broken` is what no stream can give, as long
    as nothing reads it; `inner` are the nodes of loops' steps. `lasts` are values of the latest frame alone, with the
    timeline that they are the end of. `plain_results` are the outputs that no later call takes back. `scores` relate
    every frame to every other, until attention sums frames by them.
    """

    program: ExportedProgram
    module: nn.Module
    axes: StreamAxes
    caches: StreamCaches
    plain_results: frozenset[Node]
    times: dict[Node, Timeline] = field(default_factory=dict)
    lasts: dict[Node, Timeline] = field(default_factory=dict)
    steps: dict[Node, Step] = field(default_factory=dict)
    positions: dict[Node, Callable[[StreamRun, int], Tensor]] = field(default_factory=dict)
    edges: dict[Node, Step] = field(default_factory=dict)
    broken: dict[Node, StreamingError] = field(default_factory=dict)
    inner: set[Node] = field(default_factory=set)
    scores: dict[Node, Scores] = field(default_factory=dict)
    results: dict[Node, Operand] = field(default_factory=dict)
    _delayed: dict[tuple[Node, int], Operand] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.fixed = FixedValues(self.program, self.axes)

    @property
    def multiple(self) -> int:
        """Of which number of frames a call has a multiple."""
        return lcm(*(own.rate.denominator for own in self.times.values()), 1)

    @property
    def outputs(self) -> tuple[Node, ...]:
        """The nodes of the program's results."""
        found: Any = self.program.graph.output_node().args[0]
        return tuple(found)

    def shows_last(self, node: Node, count: int) -> bool:
        """Whether anything but the next call reads the last states of a layer or a loop, behind `count` results."""
        last = [user for user in node.users if isinstance(user.args[1], int) and user.args[1] >= count]
        return any(own in self.plain_results or any(user.op != "output" for user in own.users) for own in last)

    def operand(self, node: Node) -> Operand:
        """A value with an axis of time."""
        return Operand(
            node=node,
            time=self.times[node],
            shape=tuple(node.meta["val"].shape),
            step=lambda run: run.values[node],
            edge=self.edges.get(node),
        )

    def settled(self, node: Node) -> Operand:
        """The same, without frames of the whole before the stream's first."""
        return self.delayed(node, max(0, -self.times[node].lag))

    def delayed(self, node: Node, by: int) -> Operand:
        """A value's frames `by` frames later; the same frames again take no second cache."""
        if by == 0:
            return self.operand(node)
        if (node, by) not in self._delayed:
            later = self.caches.delayed(self.operand(node), by)
            self._delayed[node, by] = replace(later, step=_once(node, by, later.step))
        return self._delayed[node, by]

    def give(self, node: Node, value: Operand, axis: int | None = None) -> None:
        """Let a node be this operand's value, its time along `axis`."""
        self.times[node] = value.time if axis is None else value.time.at(axis)
        self.steps[node] = value.step

    def rate_of(self, node: Node, size: Any) -> Fraction:
        """The rate of the frames that a size counts.

        Raises:
            StreamingError: it counts none.
        """
        found = next((own.rate for own in self.times.values() if own.whole == size), None)
        ratio = sympy.cancel(size / self.axes.time)
        if found is None and not ratio.is_Rational:
            raise refused(node, "depends on the number of frames")
        return Fraction(int(ratio.p), int(ratio.q)) if found is None else found

    def timed(self, node: Node) -> Iterator[Node]:
        """The arguments of a node that have an axis of time."""
        return (own for own in node.all_input_nodes if own in self.times)

    def time_axis(self, node: Node, shape: Any = None) -> int:
        """The one axis of time of a value.

        Raises:
            StreamingError: there are several, as in attention over all of time.
        """
        axes = self.axes.time_axes(node.meta["val"].shape if shape is None else shape)
        if len(axes) != 1:
            raise refused(node, "relates every frame to every other" if axes else "takes all frames together")
        return axes[0]


def _once(node: Node, by: int, step: Step) -> Step:
    """A step computed once a call, for its cache moves on."""
    key: Any = (node, by)

    def cached(run: StreamRun) -> Any:
        if key not in run.values:
            run.values[key] = step(run)
        return run.values[key]

    return cached
