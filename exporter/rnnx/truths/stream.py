"""A long sequence given to a model call by call, its state carried from each call to the next."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np

from rnnx.truths.cases import Case
from rnnx.truths.rows import has_rows, take_rows
from rnnx_runtime.array_type import Array
from rnnx_runtime.arrays.time_axis import frames_per_step, step_axis, time_of
from rnnx_runtime.contract import Contract, TensorSpec

Outputs = Callable[[Case], Mapping[str, Array]]
"""A model that runs: the outputs of a case by name."""


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Frames by input name, `(T, ...)` with time first whatever the model's order; first states by input name.

    A step of time takes `unit` of them. `fixed` are inputs that every call takes as they are; `lengths (B)` say where
    rows end, all at T where left out.
    """

    frames: Mapping[str, Array]
    state: Mapping[str, Array]
    fixed: Mapping[str, Array] = field(default_factory=dict)
    lengths: Array | None = None
    unit: int = 1

    @property
    def time(self) -> int:
        """T."""
        return len(next(iter(self.frames.values()))) // self.unit

    def live_at(self, step: int, batch: int) -> list[int]:
        """The rows that have steps left."""
        return list(range(batch)) if self.lengths is None else np.flatnonzero(self.lengths > step).tolist()


@dataclass(frozen=True, kw_only=True)
class Streamed:
    """What the calls gave: `steps (T, ...)` by output, time first, `last` of what has no time, and the next `state`.

    Steps are zero past a row's length; those of a state, such as the `hn` of a cell, are called "each hn".
    """

    steps: Mapping[str, Array]
    last: Mapping[str, Array]
    state: Mapping[str, Array]
    names: Mapping[str, str]

    def named(self) -> dict[str, Array]:
        """All of it by the names of outputs."""
        ended = {self.names[name]: value for name, value in self.state.items()}
        return {**self.steps, **self.last, **ended}


class Calls:
    """How a contract's inputs and outputs lie along time, and what one call of a stream takes and gives."""

    def __init__(self, contract: Contract, outputs: Sequence[TensorSpec] | None = None) -> None:
        bare = contract.bare
        self._contract = contract
        self._unrolled = bare is not None and bare.form == "unrolled"
        self._time = time_of(contract)
        self.has_time = self._unrolled or self._time is not None
        """Whether one call takes many frames."""
        self.steps = (bare.steps or 1) if bare and self._unrolled else None
        """How many frames every call takes, of an unrolled decoder."""
        context = contract.decoder.context if contract.decoder else ()
        self.framed = tuple(
            spec
            for spec in contract.plain_inputs
            if (self.axis(spec) is not None if self.has_time else spec.name not in context)
        )
        self.fixed = tuple(spec for spec in contract.plain_inputs if spec not in self.framed)
        given = contract.outputs if outputs is None else outputs
        wanted = {spec.name for spec in contract.plain_outputs}
        self.plain = tuple(spec for spec in given if spec.name in wanted)
        self._state_outputs = {pair.output for pair in contract.following}

    def axis(self, spec: TensorSpec) -> int | None:
        """A tensor's axis of time."""
        if self._unrolled:
            return 0
        return step_axis(spec, self._time)

    @property
    def unit(self) -> int:
        """How many frames of the inputs a step of time has."""
        return max([frames_per_step(spec, self._time) or 1 for spec in self.framed], default=1)

    def shown(self, spec: TensorSpec) -> str:
        """What the steps of an output are called."""
        return f"each {spec.name}" if spec.name in self._state_outputs else spec.name

    def is_stepwise(self, spec: TensorSpec) -> bool:
        """Whether an output has a value for each step."""
        return not self.has_time or self.axis(spec) is not None

    def batch(self, stream: Stream) -> int:
        """B of a stream."""
        spec = next((spec for spec in self.framed if "B" in spec.dims), None)
        if spec is not None:
            return int(stream.frames[spec.name].shape[self._batch_axis(spec)])
        own = next((spec for spec in self._contract.state_specs if "B" in spec.dims), None)
        return 1 if own is None else int(stream.state[own.name].shape[own.dims.index("B")])

    def case(self, stream: Stream, state: Mapping[str, Array], start: int, size: int) -> Case:
        """One call, of the rows that are live."""
        batch = self.batch(stream)
        feeds: dict[str, Array] = {**stream.fixed, **state}
        for spec in self.framed:
            unit = 1 if self._unrolled else frames_per_step(spec, self._time) or 1
            frames = stream.frames[spec.name][start * unit : (start + size) * unit]
            axis = self.axis(spec)
            feeds[spec.name] = np.ascontiguousarray(frames[0] if axis is None else np.moveaxis(frames, 0, axis))
        left = np.full(batch, size) if stream.lengths is None else stream.lengths - start
        for spec in self._contract.inputs:
            if spec.name in self._contract.lengths:
                feeds[spec.name] = np.minimum(left, size).astype(spec.dtype)
        rows, last = stream.live_at(start, batch), start + size
        return Case(
            name=f"steps {start + 1} to {last}" if size > 1 else f"step {last}",
            feeds=feeds if len(rows) == batch else take_rows(self._contract.inputs, feeds, rows),
        )

    def time_first(self, spec: TensorSpec, value: Array) -> Array:
        """The steps of one call's output."""
        axis = self.axis(spec)
        return value[np.newaxis] if axis is None else np.moveaxis(value, axis, 0)

    def spread(self, spec: TensorSpec, piece: Array, rows: Sequence[int], batch: int) -> Array:
        """Steps of the live rows in their places among all rows, zeros elsewhere."""
        if len(rows) == batch:
            return piece
        at = self._batch_axis(spec)
        found = np.zeros((*piece.shape[:at], batch, *piece.shape[at + 1 :]), piece.dtype)
        found[(slice(None),) * at + (list(rows),)] = piece
        return found

    def ended(self, spec: TensorSpec, steps: Array, lengths: Array) -> Array:
        """Steps with zeros past each row's length."""
        past = np.arange(len(steps))[:, np.newaxis] >= lengths
        sides = [1] * steps.ndim
        sides[0], sides[self._batch_axis(spec)] = past.shape
        return np.where(past.reshape(sides), np.zeros((), steps.dtype), steps)

    def _batch_axis(self, spec: TensorSpec) -> int:
        """The axis of B where time comes first."""
        time, batch = self.axis(spec), spec.dims.index("B")
        return batch + 1 if time is None or batch < time else batch


def obstacle(contract: Contract, outputs: Sequence[TensorSpec]) -> str:
    """Why a model cannot be given a sequence in several calls; empty where it can."""
    bare = contract.bare
    if bare is not None and bare.directions == 2:
        return "the backward direction starts at the sequence's end, so that no part of it can be computed alone"
    if bare is None and contract.streaming.kind not in ("exact", "delayed"):
        return f"the model does not stream: {contract.streaming.reason}"
    if not contract.states:
        return "the model takes no states, so that none can be carried into the next call"
    given = {spec.name for spec in outputs}
    missing = [pair.output for pair in contract.states if pair.output not in given]
    if missing:
        return f"the model does not give {' and '.join(missing)}, so that no state can be carried into the next call"
    if len(contract.lengths) > 1:
        return "the model takes several lengths"
    if contract.lengths and contract.batching.rows != "independent":
        return "rows may depend on each other, so that none can leave the batch at its end"
    return ""


def without_truth(contract: Contract) -> str:
    """Why nothing is known of a longer sequence, where only a golden file is there."""
    what = "weights" if contract.bare is not None else "module"
    return f"no {what} to compute the truth of a longer sequence from"


def run_calls(run: Outputs, contract: Contract, stream: Stream, sizes: Sequence[int]) -> Streamed:
    """Run consecutive calls of `sizes` time steps, the next from where the last one ended.

    A row that has ended leaves the batch, for a length of 0 is refused. Each size is 1 for a step and N for an unrolled
    decoder. Values keep the dtype that the model gives them. Raises whatever `run` raises.
    """
    calls, batch = Calls(contract), None
    specs = {spec.name: spec for spec in contract.outputs}
    state, last = dict(stream.state), dict[str, Array]()
    pieces: dict[str, list[Array]] = {}
    for start, size in zip(accumulate(sizes, initial=0), sizes, strict=False):
        batch = calls.batch(stream) if batch is None else batch
        rows = stream.live_at(start, batch)
        values = run(calls.case(stream, state, start, size))
        ended = {pair.input: values[pair.output] for pair in contract.states}
        state = _with_rows(contract.state_specs, state, rows, ended, batch)
        for spec in calls.plain:
            value = values.get(spec.name)
            if value is None:
                continue  # a file from elsewhere may leave it out
            if calls.is_stepwise(spec):
                piece = calls.spread(spec, calls.time_first(spec, value), rows, batch)
                pieces.setdefault(calls.shown(spec), []).append(piece)
            else:
                last |= _with_rows([specs[spec.name]], last or {spec.name: value}, rows, {spec.name: value}, batch)
    steps = {name: np.concatenate(own) for name, own in pieces.items()}
    if stream.lengths is not None and contract.bare is None:  # a layer's are zero there, as in a packed sequence
        for spec in calls.plain:
            name = calls.shown(spec)
            if name in steps and has_rows(spec):
                steps[name] = calls.ended(spec, steps[name], stream.lengths)
    return Streamed(
        steps=steps,
        last=last,
        state=state,
        names={pair.input: pair.output for pair in contract.states},
    )


def _with_rows(
    specs: Sequence[TensorSpec],
    before: Mapping[str, Array],
    rows: Sequence[int],
    ended: Mapping[str, Array],
    batch: int,
) -> dict[str, Array]:
    """Values with the rows that ran replaced; those that had ended keep theirs."""
    if len(rows) == batch:
        return dict(ended)
    found: dict[str, Array] = {}
    for spec in specs:
        place = (slice(None),) * spec.dims.index("B") + (list(rows),)
        found[spec.name] = before[spec.name].copy()
        found[spec.name][place] = ended[spec.name]
    return found
