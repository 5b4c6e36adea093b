"""Drift: how far a backend strays from the float64 truth while its own state is fed back to it, step after step."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rnnx.checks.differences import allowed
from rnnx.checks.probe import Probe
from rnnx.checks.truth_source import TruthSource
from rnnx.parity.results import DriftCurve
from rnnx.truths.comparable import comparable
from rnnx.truths.stream import Calls, Outputs, Stream, obstacle, run_calls, without_truth
from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Contract, TensorSpec
from rnnx_runtime.errors import RnnxError

WINDOWS = 200
"""Points of a curve: enough to see its course, few enough for a report."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """Consecutive steps of one sequence: their inputs, their float64 truth `(n, ...)`, the largest float32 error."""

    stream: Stream
    truth: Array
    float32_error: float


@dataclass(frozen=True, kw_only=True)
class DriftTruth:
    """What is true of a long sequence of drawn inputs, B = 1, from a state of zeros.

    The values are those of the first output that has some for each step, or each first state of a cell.
    """

    windows: tuple[Window, ...]
    problem: str = ""
    """Why there is nothing to measure: the model itself has no answer for so many steps."""

    @property
    def steps(self) -> int:
        """The steps of all windows."""
        return sum(window.stream.time for window in self.windows)


def drift_truth(
    contract: Contract,
    source: TruthSource,
    sequence: Callable[[int], Stream],
    steps: int,
    *,
    on_window: Callable[[], None] = lambda: None,
) -> DriftTruth:
    """The truth of about `steps` steps, in float64 and in float32, each with its own state fed back.

    They are cut into at most `WINDOWS` windows of equal size, a multiple of an unrolled decoder's N, and end with the
    last whole window. `sequence` gives inputs of so many steps, B = 1.
    """
    size = _window_size(contract, steps)
    streams = _windows(sequence(size * max(1, steps // size)), size)
    calls = Calls(contract)
    call = (calls.steps or size) if calls.has_time else 1
    double, single = (_run(run, contract, streams, call) for run in (source.double, source.single))
    windows = list[Window]()
    for stream, truth, own in zip(streams, double, single, strict=True):
        if np.isnan(truth).any():  # infinities may be a mask
            count = sum(window.stream.time for window in windows)
            return DriftTruth(windows=(), problem=f"PyTorch itself gives NaN after {count} steps")
        windows.append(Window(stream=stream, truth=truth, float32_error=_largest(_errors(own, truth))))
        on_window()
    return DriftTruth(windows=tuple(windows))


def measure_drift(
    probe: Probe, truth: DriftTruth | None, *, on_window: Callable[[], None] = lambda: None
) -> DriftCurve:
    """A backend's error over the sequence of `truth`, which is None where there are no weights to compute it from.

    Raises:
        OptionError: the tolerance table does not know the precision.
    """
    reason = _no_drift(probe) or (truth.problem if truth else "")
    if reason or truth is None:
        return _without_points(probe, "skip", reason or without_truth(probe.contract))
    call = _call_size(probe, truth)
    if not call:
        return _without_points(probe, "skip", "no profile of the engine takes one sequence by itself")
    errors: list[Array] = []
    try:
        found = _run(probe.run, probe.contract, [window.stream for window in truth.windows], call)
        for window, values in zip(truth.windows, found, strict=True):
            errors.append(_errors(values, window.truth))
            on_window()
    except RnnxError as error:
        return _without_points(
            probe, "fail", f"in the {truth.windows[0].stream.time} steps after {_steps(errors)}: {error}"
        )
    return _curve(probe, truth, errors)


def _window_size(contract: Contract, steps: int) -> int:
    unit = Calls(contract).steps or 1
    return -(-max(1, steps // WINDOWS) // unit) * unit


def _windows(stream: Stream, size: int) -> list[Stream]:
    return [
        replace(stream, frames={name: value[start : start + size] for name, value in stream.frames.items()})
        for start in range(0, stream.time, size)
    ]


def _run(run: Outputs, contract: Contract, windows: Sequence[Stream], call: int) -> Iterator[Array]:
    """Each window's values `(n, ...)`, from calls of `call` steps, the state carried through all windows."""
    calls = Calls(contract)
    output = stepwise_output(contract, contract.outputs)
    assert output is not None
    state: Mapping[str, Array] = {name: np.zeros_like(value) for name, value in windows[0].state.items()}
    for window in windows:
        streamed = run_calls(run, contract, replace(window, state=state), (call,) * (window.time // call))
        state = streamed.state
        yield streamed.steps[calls.shown(output)]


def stepwise_output(contract: Contract, outputs: Sequence[TensorSpec]) -> TensorSpec | None:
    """The first output of floats that has a value for each step; None where there is none."""
    calls = Calls(contract, outputs)
    floats = (spec for spec in calls.plain if np.dtype(spec.dtype).kind == "f")
    return next((spec for spec in floats if calls.is_stepwise(spec)), None)


def _errors(values: Array, truth: Array) -> Array:
    """The largest error of each step `(n,)`."""
    apart = np.abs(comparable(values, truth).astype(np.float64) - comparable(truth, truth))
    largest: Array = apart.reshape(len(apart), -1).max(axis=1)
    return largest


def _largest(errors: Array) -> float:
    return float(errors.max())


def _no_drift(probe: Probe) -> str:
    reason = obstacle(probe.contract, probe.outputs)
    if reason or stepwise_output(probe.contract, probe.outputs):
        return reason
    return "the model does not give output" if probe.contract.bare else "no output of floats has a value for each step"


def _call_size(probe: Probe, truth: DriftTruth) -> int:
    """Steps a call: of a model with time a whole window, or one step if a profile takes only that; 0 if none does."""
    calls = Calls(probe.contract)
    fixed: dict[str, int] = {dim: 1 for dim in probe.contract.free_dims if dim == "B"}
    if not calls.has_time or calls.steps is not None:
        return (calls.steps or 1) if probe.covers(fixed) else 0
    sizes = (truth.windows[0].stream.time, 1)
    return next((size for size in sizes if probe.covers({"T": size, **fixed})), 0)


def _curve(probe: Probe, truth: DriftTruth, errors: list[Array]) -> DriftCurve:
    at = tuple(np.cumsum([len(values) for values in errors]).tolist())
    largest = [float(values.max()) for values in errors]
    own = tuple(window.float32_error for window in truth.windows)
    every = np.concatenate(errors)
    limit = _limit(probe, truth, max(own))
    return DriftCurve(
        backend=probe.candidate.name,
        status="pass" if every.max() <= limit else "fail",
        precision=probe.precision,
        steps=truth.steps,
        at=at,
        errors=tuple(largest),
        float32_errors=own,
        slope_per_step=_slope(at, largest),
        worst_step=int(every.argmax()) + 1,
        worst_error=float(every.max()),
        limit=limit,
    )


def _limit(probe: Probe, truth: DriftTruth, float32_error: float) -> float:
    values = {"output": np.concatenate([window.truth for window in truth.windows])}
    names = truth.windows[0].stream.frames
    frames = {name: np.concatenate([window.stream.frames[name] for window in truth.windows]) for name in names}
    return allowed(probe, values, frames, truth.steps, {"output": float32_error})["output"]


def _slope(at: tuple[int, ...], errors: list[float]) -> float:
    """The slope of the least-squares line through the points."""
    steps = np.array(at) - np.mean(at)
    spread = float(steps @ steps)
    return float(steps @ np.array(errors)) / spread if spread else 0.0


def _steps(errors: list[Array]) -> int:
    return sum(len(values) for values in errors)


def _without_points(probe: Probe, status: Any, reason: str) -> DriftCurve:
    return DriftCurve(backend=probe.candidate.name, status=status, precision=probe.precision, reason=reason)
