import functools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rnnx.checks.drift import WINDOWS, DriftTruth, drift_truth, measure_drift
from rnnx.checks.plan import drawn_stream
from rnnx.checks.truth_source import TruthSource
from rnnx.parity.tolerances import TOLERANCES
from rnnx.truths.cases import Case, time_of
from rnnx_runtime import BackendError

STEPS = 400
Values = dict[str, Any]


def _truth(model: Any, steps: int = STEPS) -> Any:
    return drift_truth(model.whole, model.source(), _sequence(model), steps)


def _sequence(model: Any) -> Any:
    return functools.partial(drawn_stream, model.inputs, batch=1, seed=0)


def _pushed(by: float) -> Any:
    """Every state a little too large: the error of one step is fed back into the next."""

    def change(run: Any, case: Case) -> Values:
        values: Values = run(case)
        return {**values, "cn": values["cn"] + np.float32(by)}

    return change


class _Growing:
    """An error that grows by `rate` with every step since the first call."""

    def __init__(self, contract: Any, rate: float) -> None:
        self.contract, self.rate, self.step = contract, rate, 0

    def __call__(self, run: Any, case: Case) -> Values:
        time = time_of(self.contract, case.feeds)
        steps = np.arange(self.step + 1, self.step + time + 1)
        self.step += time
        values: Values = run(case)
        name = "hn" if self.contract.form == "step" else "output"
        error = (self.rate * steps)[:, np.newaxis, np.newaxis]
        values[name] = values[name] + np.float32(error[0] if name == "hn" else error)
        return values


def _nan_after(calls: int) -> Any:
    count = iter(range(10_000))

    def change(run: Any, case: Case) -> Values:
        values: Values = run(case)
        return {**values, "cn": values["cn"] * np.nan} if next(count) == calls else values

    return change


@pytest.mark.parametrize("form", ["lstm", "step", "unrolled"])
def test_a_right_backend_stays_near_the_truth(form: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(form)
    curve = measure_drift(model.probe(), _truth(model))
    assert (curve.backend, curve.status, curve.precision, curve.steps) == ("fake", "pass", "float32", STEPS)
    assert curve.errors == curve.float32_errors  # it is what the truth's own float32 is computed by
    assert curve.worst_error == max(curve.errors) < curve.limit
    assert (curve.at[0], curve.at[-1]) == ({"lstm": 2, "step": 2, "unrolled": 4}[form], STEPS)
    assert abs(curve.slope_per_step) < 1e-8


def test_the_limit_is_that_of_all_the_steps(lstm: Any) -> None:
    curve = measure_drift(lstm.probe(), _truth(lstm))
    floor = TOLERANCES["float32"].floor(5 + 8, STEPS, 1.0)
    assert curve.limit == pytest.approx(floor, rel=0.05)
    assert measure_drift(lstm.probe(precision="tf32"), _truth(lstm)).limit > 100 * floor


def test_the_limit_is_wider_where_float32_itself_strays(lstm: Any) -> None:
    first, *others = _truth(lstm).windows
    strayed = DriftTruth(windows=(replace(first, float32_error=0.5), *others))
    assert measure_drift(lstm.probe(), strayed).limit == 0.5 * TOLERANCES["float32"].ratio


@pytest.mark.parametrize("form", ["lstm", "step"])
def test_an_error_that_grows_fails_with_its_slope_and_worst_step(form: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(form)
    curve = measure_drift(model.probe(_Growing(model.contract, 1e-6)), _truth(model))
    assert curve.status == "fail"
    if form == "lstm":  # a step's error is fed back too, and does not grow as evenly
        assert curve.slope_per_step == pytest.approx(1e-6, rel=0.01)
        assert curve.worst_error == pytest.approx(1e-6 * STEPS, rel=0.01)
    assert curve.worst_error > curve.limit
    assert curve.worst_step > STEPS - 20  # the gates of the last steps let more or less of it through


def test_an_error_fed_back_is_seen_though_one_call_hides_it(step: Any) -> None:
    truth = _truth(step)
    assert measure_drift(step.probe(_pushed(1e-3)), truth).status == "fail"
    curve = measure_drift(step.probe(_pushed(1e-7)), truth)
    assert curve.status == "pass"
    assert max(curve.errors) > max(curve.float32_errors)


def test_windows_hold_the_largest_error_since_the_window_before(lstm: Any) -> None:
    def once(run: Any, case: Case) -> Values:
        values: Values = run(case)
        if case.feeds["x"][0, 0, 0] == first:
            values["output"][1, 0, 3] += np.float32(0.5)
        return values

    truth = _truth(lstm, 1000)
    first = truth.windows[120].stream.frames["x"][0, 0, 0]
    curve = measure_drift(lstm.probe(once), truth)
    assert (curve.worst_step, len(curve.at), curve.at[:2]) == (120 * 5 + 2, WINDOWS, (5, 10))
    assert curve.errors[120] == pytest.approx(0.5, rel=1e-5)
    assert max(curve.errors[:120] + curve.errors[121:]) < 1e-5


def test_the_inputs_are_seeded_standard_normal(lstm: Any) -> None:
    xs = np.concatenate([window.stream.frames["x"] for window in _truth(lstm, 2000).windows])
    again = np.concatenate([window.stream.frames["x"] for window in _truth(lstm, 2000).windows])
    assert np.array_equal(xs, again)
    assert xs.shape == (2000, 1, 5)
    assert abs(xs.mean()) < 0.05
    assert xs.std() == pytest.approx(1, abs=0.05)


def test_the_truth_is_one_long_evaluation_in_float64(lstm: Any) -> None:
    truth = _truth(lstm)
    xs = np.concatenate([window.stream.frames["x"] for window in truth.windows])
    zeros = {name: np.zeros((1, 1, 8), np.float32) for name in ("h0", "c0")}
    whole = lstm.source().double(Case(name="", feeds={"x": xs, **zeros}))["output"]
    found = np.concatenate([window.truth for window in truth.windows])
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, whole, rtol=0, atol=1e-13)


def test_an_unrolled_decoders_windows_are_whole_calls(unrolled: Any) -> None:
    truth = _truth(unrolled, 1003)
    assert {len(window.stream.frames["x"]) for window in truth.windows} == {8}
    assert truth.steps == 1000


def test_a_sequence_shorter_than_a_window_is_one_window(unrolled: Any) -> None:
    assert _truth(unrolled, 1).steps == 4


def test_a_nan_on_the_way_fails_and_says_when(lstm: Any) -> None:
    curve = measure_drift(lstm.probe(_nan_after(30)), _truth(lstm))
    assert (curve.status, curve.at) == ("fail", ())
    assert curve.reason.startswith("in the 2 steps after 60: cn of steps 1 to 2: got 8 of 8 values are NaN or Inf")


def test_what_the_backend_raises_fails(lstm: Any) -> None:
    def fail(run: Any, case: Case) -> Values:
        raise BackendError("engine", got="a fault", expected="a result", remedy="restart")

    assert "engine: got a fault" in measure_drift(lstm.probe(fail), _truth(lstm)).reason


def test_windows_are_told_of_one_by_one(lstm: Any) -> None:
    told: list[str] = []
    truth = drift_truth(lstm.whole, lstm.source(), _sequence(lstm), STEPS, on_window=lambda: told.append("truth"))
    measure_drift(lstm.probe(), truth, on_window=lambda: told.append("backend"))
    assert told == ["truth"] * WINDOWS + ["backend"] * WINDOWS


def test_an_engine_for_single_steps_is_given_single_steps(lstm: Any) -> None:
    probe = lstm.probe(covers=lambda sizes: sizes["T"] == 1)
    assert measure_drift(probe, _truth(lstm)).status == "pass"
    assert {case.feeds["x"].shape for case in probe.candidate.calls} == {(1, 1, 5)}


def test_what_cannot_be_measured_is_skipped_with_the_reason(lstm: Any, bidirectional: Any) -> None:
    truth = _truth(lstm)
    states = [spec for spec in lstm.contract.outputs if spec.name != "output"]
    found = {
        "no weights": measure_drift(lstm.probe(), None),
        "the backward direction": measure_drift(bidirectional.probe(), None),
        "the model does not give output": measure_drift(lstm.probe(outputs=states), truth),
        "no profile of the engine": measure_drift(lstm.probe(covers=lambda sizes: sizes["B"] > 1), truth),
    }
    assert all((curve.status, curve.at) == ("skip", ()) for curve in found.values())
    assert all(curve.reason.startswith(reason) for reason, curve in found.items())


def test_a_model_that_gives_nan_itself_is_skipped_with_the_step(step: Any) -> None:
    count = iter(range(10_000))

    def double(case: Case) -> Values:
        values: Values = step.source().double(case)
        return {**values, "hn": values["hn"] * np.nan} if next(count) == 6 else values

    source = TruthSource(double=double, single=step.source().single)
    truth = drift_truth(step.whole, source, _sequence(step), STEPS)
    curve = measure_drift(step.probe(), truth)
    assert (curve.status, curve.reason) == ("skip", "PyTorch itself gives NaN after 6 steps")
