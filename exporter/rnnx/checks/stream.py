"""A long sequence given to a model call by call, its state carried from each call to the next."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from rnnx.checks.rows import take_rows
from rnnx.truths.cases import Array, Case
from rnnx_runtime.contract import Recurrence, TensorSpec

Outputs = Callable[[Case], Mapping[str, Array]]
"""A model that runs: the outputs of a case by name."""

NEXT_STATES = {"h0": "hn", "c0": "cn"}
"""The output that is fed back to each state input."""


@dataclass(frozen=True, kw_only=True)
class Stream:
    """`x (T, B, I)`, time first whatever the model's order; first states by input name; `lengths (B)` or all T."""

    x: Array
    state: Mapping[str, Array]
    lengths: Array | None = None

    def live_at(self, step: int) -> list[int]:
        """The rows that have steps left."""
        batch = self.x.shape[1]
        return list(range(batch)) if self.lengths is None else np.flatnonzero(self.lengths > step).tolist()


@dataclass(frozen=True, kw_only=True)
class Streamed:
    """What the calls gave: `steps (T, B, W)`, `output` time first (each `hn` of a step), and the state after the last.

    `steps` is zero past a row's length, and None where the model has no `output`; `steps_name` says which they are.
    """

    steps: Array | None
    steps_name: str
    state: Mapping[str, Array]

    def named(self) -> dict[str, Array]:
        """All of it by the names of outputs."""
        found = {} if self.steps is None else {self.steps_name: self.steps}
        return {**found, **{NEXT_STATES[name]: value for name, value in self.state.items()}}


def obstacle(contract: Recurrence, outputs: Sequence[TensorSpec]) -> str:
    """Why a model cannot be given a sequence in several calls; empty where it can."""
    given = {spec.name for spec in outputs}
    missing = [name for name in _next_names(contract) if name not in given]
    if contract.directions == 2:
        return "the backward direction starts at the sequence's end, so that no part of it can be computed alone"
    if not contract.state_inputs:
        return "the model takes no states, so that none can be carried into the next call"
    if missing:
        return f"the model does not give {' and '.join(missing)}, so that no state can be carried into the next call"
    return ""


def run_calls(run: Outputs, contract: Recurrence, stream: Stream, sizes: Sequence[int]) -> Streamed:
    """Run consecutive calls of `sizes` time steps, the next from where the last one ended.

    A row that has ended leaves the batch, for a length of 0 is refused. Each size is 1 for a step and N for an unrolled
    decoder. Values keep the dtype that the model gives them. Raises whatever `run` raises.
    """
    states = [spec for spec in contract.inputs if spec.name in NEXT_STATES]
    state = dict(stream.state)
    pieces: list[Array] = []
    for start, size in zip(accumulate(sizes, initial=0), sizes, strict=False):
        rows = stream.live_at(start)
        values = run(_call(contract, stream, state, start, size))
        ended = {name: values[NEXT_STATES[name]] for name in state}
        state = _with_rows(states, state, rows, ended)
        piece = _time_first(contract, values)
        if piece is not None:
            pieces.append(_spread(piece, rows, stream.x.shape[1]))
    name = "each hn" if contract.form == "step" else "output"
    return Streamed(steps=np.concatenate(pieces) if pieces else None, steps_name=name, state=state)


def _next_names(contract: Recurrence) -> tuple[str, ...]:
    return ("hn", "cn") if contract.cell == "lstm" else ("hn",)


def _call(contract: Recurrence, stream: Stream, state: Mapping[str, Array], start: int, size: int) -> Case:
    """The case of one call, of the rows that are live."""
    rows = stream.live_at(start)
    x = np.ascontiguousarray(stream.x[start : start + size])
    if contract.form == "step":
        x = x[0]
    elif contract.batch_first:
        x = np.ascontiguousarray(x.swapaxes(0, 1))
    feeds: dict[str, Array] = {"x": x, **state}
    if contract.lengths:
        left = np.full(stream.x.shape[1], size) if stream.lengths is None else stream.lengths - start
        feeds["lengths"] = np.minimum(left, size).astype(np.int32)
    whole = len(rows) == stream.x.shape[1]
    last = start + size
    return Case(
        name=f"steps {start + 1} to {last}" if size > 1 else f"step {last}",
        feeds=feeds if whole else take_rows(contract.inputs, feeds, rows),
    )


def _with_rows(
    specs: Sequence[TensorSpec], state: Mapping[str, Array], rows: Sequence[int], ended: Mapping[str, Array]
) -> dict[str, Array]:
    """The state with the rows that ran replaced; those that had ended keep theirs."""
    if all(ended[name].shape == value.shape for name, value in state.items()):
        return dict(ended)
    found: dict[str, Array] = {}
    for spec in specs:
        place = (slice(None),) * spec.dims.index("B") + (list(rows),)
        found[spec.name] = state[spec.name].copy()
        found[spec.name][place] = ended[spec.name]
    return found


def _time_first(contract: Recurrence, values: Mapping[str, Array]) -> Array | None:
    if contract.form == "step":
        return values["hn"][np.newaxis]
    output = values.get("output")
    return output.swapaxes(0, 1) if output is not None and contract.batch_first else output


def _spread(piece: Array, rows: Sequence[int], batch: int) -> Array:
    """Values `(T, live rows, W)` in their places among all rows, zeros elsewhere."""
    if len(rows) == batch:
        return piece
    found = np.zeros((piece.shape[0], batch, piece.shape[2]), piece.dtype)
    found[:, list(rows)] = piece
    return found
