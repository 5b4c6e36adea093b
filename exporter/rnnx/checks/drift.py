"""Drift: how far a backend strays from the float64 truth while its own state is fed back to it, step after step."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnx.checks.differences import allowed
from rnnx.checks.probe import Probe
from rnnx.checks.stream import NEXT_STATES, Outputs, Stream, obstacle, run_calls
from rnnx.checks.truth_source import TruthSource
from rnnx.parity.results import DriftCurve
from rnnx.truths.cases import Array
from rnnx_runtime.contract import Recurrence
from rnnx_runtime.errors import RnnxError

WINDOWS = 200
"""Points of a curve: enough to see its course, few enough for a report."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """Consecutive steps of the sequence: `x (n, 1, I)`, their float64 truth `(n, 1, W)`, the largest float32 error."""

    x: Array
    truth: Array
    float32_error: float


@dataclass(frozen=True, kw_only=True)
class DriftTruth:
    """What is true of a long sequence of standard normal `x`, B = 1, from a state of zeros."""

    windows: tuple[Window, ...]

    @property
    def steps(self) -> int:
        """The steps of all windows."""
        return sum(len(window.x) for window in self.windows)


def drift_truth(
    contract: Recurrence,
    source: TruthSource,
    steps: int,
    *,
    seed: int = 0,
    on_window: Callable[[], None] = lambda: None,
) -> DriftTruth:
    """The truth of about `steps` steps, in float64 and in float32, each with its own state fed back.

    They are cut into at most `WINDOWS` windows of equal size, a multiple of an unrolled decoder's N, and end with the
    last whole window.
    """
    size = _window_size(contract, steps)
    shape = (max(1, steps // size), size, 1, contract.input_size)
    x = np.random.default_rng(seed).standard_normal(shape, np.float32)
    call = size if contract.form == "encoder" else contract.steps or 1
    double, single = (_run(run, contract, x, call) for run in (source.double, source.single))
    windows = []
    for window, truth, own in zip(x, double, single, strict=True):
        windows.append(Window(x=window, truth=truth, float32_error=float(np.abs(own - truth).max())))
        on_window()
    return DriftTruth(windows=tuple(windows))


def measure_drift(
    probe: Probe, truth: DriftTruth | None, *, on_window: Callable[[], None] = lambda: None
) -> DriftCurve:
    """A backend's error over the sequence of `truth`, which is None where there are no weights to compute it from.

    Raises:
        OptionError: the tolerance table does not know the precision.
    """
    reason = _no_drift(probe)
    if reason or truth is None:
        return _without_points(probe, "skip", reason or "no weights to compute the truth of a longer sequence from")
    call = _call_size(probe, truth)
    if not call:
        return _without_points(probe, "skip", "no profile of the engine takes one sequence by itself")
    errors: list[Array] = []
    try:
        found = _run(probe.run, probe.contract, [window.x for window in truth.windows], call)
        for window, values in zip(truth.windows, found, strict=True):
            errors.append(np.abs(values - window.truth).max(axis=(1, 2)))
            on_window()
    except RnnxError as error:
        return _without_points(
            probe, "fail", f"in the {truth.windows[0].x.shape[0]} steps after {_steps(errors)}: {error}"
        )
    return _curve(probe, truth, errors)


def _window_size(contract: Recurrence, steps: int) -> int:
    unit = contract.steps or 1
    return -(-max(1, steps // WINDOWS) // unit) * unit


def _run(run: Outputs, contract: Recurrence, windows: Iterable[Array], call: int) -> Iterator[Array]:
    """Each window's values `(n, 1, W)`, from calls of `call` steps, the state carried through all windows."""
    state: dict[str, Array] = {
        spec.name: np.zeros([1 if dim == "B" else int(dim) for dim in spec.dims], spec.dtype)
        for spec in contract.inputs
        if spec.name in NEXT_STATES
    }
    for x in windows:
        streamed = run_calls(run, contract, Stream(x=x, state=state), (call,) * (len(x) // call))
        state = dict(streamed.state)
        yield np.asarray(streamed.steps)


def _no_drift(probe: Probe) -> str:
    gives_steps = probe.contract.form == "step" or any(spec.name == "output" for spec in probe.outputs)
    return obstacle(probe.contract, probe.outputs) or ("" if gives_steps else "the model does not give output")


def _call_size(probe: Probe, truth: DriftTruth) -> int:
    """Steps a call: of an encoder a whole window, or one step if only that fits an engine's profile; 0 if none does."""
    if probe.contract.form != "encoder":
        return (probe.contract.steps or 1) if probe.covers({"B": 1}) else 0
    sizes = (len(truth.windows[0].x), 1)
    return next((size for size in sizes if probe.covers({"T": size, "B": 1})), 0)


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
    x = np.concatenate([window.x for window in truth.windows])
    depth = truth.steps * probe.contract.layers
    return allowed(probe, values, x, depth, {"output": float32_error})["output"]


def _slope(at: tuple[int, ...], errors: list[float]) -> float:
    """The slope of the least-squares line through the points."""
    steps = np.array(at) - np.mean(at)
    spread = float(steps @ steps)
    return float(steps @ np.array(errors)) / spread if spread else 0.0


def _steps(errors: list[Array]) -> int:
    return sum(len(values) for values in errors)


def _without_points(probe: Probe, status: Any, reason: str) -> DriftCurve:
    return DriftCurve(backend=probe.candidate.name, status=status, precision=probe.precision, reason=reason)
