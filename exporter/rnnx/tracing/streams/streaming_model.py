"""A model as one that takes chunks: its program run by a plan, with what it carries as inputs and outputs."""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Self

import sympy  # type: ignore[import-untyped]
import torch
from torch import Tensor, nn
from torch.fx import Node

from rnnx.tracing.program_call import ProgramCall, ProgramInputs
from rnnx.tracing.streams.stream_plan import StreamPlan
from rnnx.tracing.streams.stream_run import CacheSpec, StreamRun
from rnnx.tracing.streams.timelines import Timeline
from rnnx_runtime.contract import StatePair, Streaming

POSITION, END = "stream_position", "stream_end"


@dataclass(frozen=True, kw_only=True)
class StreamProgram:
    """A plan and the names of its call's inputs and outputs; it is never copied with the model.

    `inputs` and `outputs` are those of the trace, lifted states included, and `pairs` the states that the stream adds.
    """

    plan: StreamPlan
    placeholders: ProgramInputs
    cells: dict[str, nn.Module]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    timed: tuple[str, int]
    batched: tuple[str, int] | None

    @property
    def specs(self) -> tuple[CacheSpec, ...]:
        """What is carried, in order: caches, and where each row is in its sequence."""
        caches, batch = self.plan.caches, 0
        counts = [name for name, needed in ((POSITION, caches.needs_position), (END, caches.needs_end)) if needed]
        more = (CacheSpec(name=name, shape=(1,), batch=batch, dtype=torch.int64) for name in counts)
        return (*caches.specs, *more)

    @property
    def reach(self) -> int:
        """The largest number of frames that is carried."""
        return max((size for own in self.plan.caches.specs for size in own.shape), default=0)

    @property
    def pairs(self) -> tuple[StatePair, ...]:
        """The names of what is carried."""
        return tuple(StatePair(input=own.name, output=f"{own.name}_out") for own in self.specs)

    def claim(self, plain: Collection[str]) -> Streaming:
        """How the file streams, of the plain outputs; nothing of it is proved."""
        times = {name: time for name, time in self._times() if name in plain}
        symbol = self.plan.axes.time
        ends = [math.ceil(time.lag / time.rate + _excess(time, symbol)) for time in times.values()]
        lookahead = max(0, *ends, 0)
        given = self.plan.lasts
        delays = {
            name: time.lag for name, time in times.items() if time.lag > 0 and name not in self._last_names(given)
        }
        lengths = {
            name: str(time.whole.xreplace({symbol: sympy.Symbol("N", integer=True)}))
            for name, time in times.items()
            if name not in self._last_names(given)
        }
        return Streaming(
            kind="delayed" if delays or lookahead else "exact",
            caches=tuple(own.name for own in self.specs),
            delays=delays,
            lookahead=lookahead,
            lengths=lengths,
            position=POSITION if self.plan.caches.needs_position else "",
            end=END if self.plan.caches.needs_end else "",
            shortest=self.plan.caches.shortest,
        )

    def _times(self) -> Iterator[tuple[str, Timeline]]:
        plan = self.plan
        for name, node in zip(self.outputs, plan.outputs, strict=True):
            time = plan.results[node].time if node in plan.results else plan.times.get(node, plan.lasts.get(node))
            if time is not None:
                yield name, time

    def _last_names(self, lasts: Mapping[Node, Timeline]) -> set[str]:
        return {name for name, node in zip(self.outputs, self.plan.outputs, strict=True) if node in lasts}

    def __deepcopy__(self, memo: Any) -> Self:
        return self


def _excess(time: Timeline, symbol: Any) -> Fraction:
    """How many frames of the inputs the whole has more than a stream gives of as many."""
    count = LONG * time.rate.denominator
    return (int(time.whole.subs(symbol, count)) - count * time.rate) / time.rate


LONG = 1_000


class StreamingModel(nn.Module):
    """A module with another's parts, which takes chunks of the inputs and all states, and gives results and states."""

    def __init__(self, module: nn.Module, program: StreamProgram) -> None:
        super().__init__()
        self._modules = dict(module._modules)
        self._parameters = dict(module._parameters)
        self._buffers = dict(module._buffers)
        self._non_persistent_buffers_set = set(module._non_persistent_buffers_set)
        for key, value in vars(module).items():
            if isinstance(value, Tensor):
                setattr(self, key, value)
        self.program = program
        self.train(False)

    def forward(self, *tensors: Tensor) -> dict[str, Tensor]:
        """Every result and every next state by name, of the inputs in order: the trace's, then what is carried."""
        program, plan = self.program, self.program.plan
        count = len(program.inputs)
        given = dict(zip(program.inputs, tensors[:count], strict=True))
        caches = {own.name: value for own, value in zip(program.specs, tensors[count:], strict=True)}
        call = ProgramCall(self, tensors[:count], program.cells)
        name, axis = program.timed
        frames = given[name].shape[axis]
        batch = given[program.batched[0]].shape[program.batched[1]] if program.batched else 1
        run = StreamRun(
            values={},
            caches=caches,
            frames=frames,
            multiple=plan.multiple,
            batch=batch,
            sizes={str(plan.axes.batch): batch},
            position=caches.get(POSITION),
            end=caches.get(END),
            dtype=call.dtype,
            layer=lambda node, values: call.result(node, [values], node.kwargs),
        )
        compute = run.compute = lambda node: self._compute(node, run, call)
        for node in plan.program.graph.nodes:
            if node not in plan.inner:
                compute(node)
        results = [plan.results[own].step(run) if own in plan.results else run.values[own] for own in plan.outputs]
        found = dict(zip(program.outputs, results, strict=True))
        following = dict(run.following)
        if run.position is not None:
            following[POSITION] = run.position + frames // plan.multiple
        if run.end is not None:
            following[END] = run.end
        return found | {f"{own.name}_out": following[own.name] for own in program.specs}

    def _compute(self, node: Node, run: StreamRun, call: ProgramCall) -> None:
        plan = self.program.plan
        if node.op == "placeholder":
            run.values[node] = self.program.placeholders.value(node, call)
        elif node.op == "get_attr":
            run.values[node] = getattr(plan.program.graph_module, str(node.target))
        elif node.op == "call_function" and node not in plan.broken and node not in plan.positions:
            if node in plan.steps:
                run.values[node] = plan.steps[node](run)
            elif node not in plan.scores and not _counts_frames(plan, node):
                run.values[node] = call.computed(node, run.values)


def _counts_frames(plan: StreamPlan, node: Node) -> bool:
    """Whether a node gives a number that depends on the sequence's length, which no step reads, or nothing."""
    value = node.meta.get("val")
    if isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool):
        return plan.axes.time in value.node.expr.free_symbols
    return value is None


def streaming_model(module: nn.Module, program: StreamProgram) -> StreamingModel:
    """The model of a plan, under its module's own name."""
    kind = type(type(module).__name__, (StreamingModel,), {"__module__": type(module).__module__})
    found: StreamingModel = kind(module, program)
    return found
