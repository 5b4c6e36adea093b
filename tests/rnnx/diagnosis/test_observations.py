from collections.abc import Mapping

import numpy as np
import pytest
from tests.rnnx.diagnosis.conftest import Array, Compute, FakeBackend, model, row_of

from rnnx.diagnosis.observations import UNEXPLAINED, Observation, observe, observed
from rnnx.diagnosis.prober import Prober
from rnnx.truths.cases import case_at
from rnnx_runtime.errors import BackendError

MADE = model("lstm")
(ENTRY,) = MADE.truth([case_at(MADE.contract, 3, 2)])


def _observed(compute: Compute) -> Observation:
    prober = Prober(FakeBackend(compute), MADE.contract, MADE.contract.outputs, 2)
    return observed(prober, ENTRY, "float32")


def _off(amount: float) -> Compute:
    compute = MADE.compute()
    return lambda feeds: {name: value + amount * (name == "cn") for name, value in compute(feeds).items()}


def test_the_truth_agrees_with_a_sound_backend() -> None:
    one = _observed(MADE.compute())
    assert one.ran
    assert not one.failed
    assert one.agrees(ENTRY.truth)
    assert (one.time, one.batch) == (3, 2)


def test_only_the_output_that_is_off_fails() -> None:
    one = _observed(_off(0.1))
    assert one.failed == ("cn",)
    assert not one.agrees(ENTRY.truth)
    assert one.agrees({**ENTRY.truth, "cn": ENTRY.truth["cn"] + 0.1})


@pytest.mark.parametrize(("left", "agrees"), [(0.9, True), (1.1, False)], ids=["within", "beyond"])
def test_a_prediction_may_leave_a_hundredth_of_the_error(left: float, agrees: bool) -> None:
    prediction = {**ENTRY.truth, "cn": ENTRY.truth["cn"] + 0.1 * (1 - left * UNEXPLAINED)}
    assert _observed(_off(0.1)).agrees(prediction) is agrees


def test_a_refusal_is_explained_by_a_predicted_one_alone() -> None:
    def refuse(feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        raise BackendError("fake", got="a", expected="b", remedy="c")

    one = _observed(refuse)
    assert one.failure
    assert one.agrees(None)
    assert not one.agrees(ENTRY.truth)
    assert not _observed(MADE.compute()).agrees(None)


def test_another_shape_is_explained_by_the_same_shape_alone() -> None:
    compute = MADE.compute()
    one = _observed(lambda feeds: {**compute(feeds), "hn": compute(feeds)["hn"].swapaxes(1, 2)})
    assert "hn" in one.problems
    assert not one.agrees(ENTRY.truth)
    assert one.agrees({**ENTRY.truth, "hn": ENTRY.truth["hn"].swapaxes(1, 2)})


def test_nan_agrees_with_nan() -> None:
    compute = MADE.compute()
    one = _observed(lambda feeds: {**compute(feeds), "hn": compute(feeds)["hn"] * np.nan})
    assert one.error("hn", ENTRY.truth["hn"]) == float("inf")
    assert one.error("hn", ENTRY.truth["hn"] * np.nan) == 0


def test_failing_cases_come_first_and_of_these_the_smallest() -> None:
    compute, truth = MADE.compute(), MADE.truth()

    def compute_long(feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        return {name: value + (len(feeds["x"]) > 1) for name, value in compute(feeds).items()}

    backend = FakeBackend(compute_long)
    prober = Prober(backend, MADE.contract, MADE.contract.outputs, 3)
    found = observe(prober, row_of(MADE, backend, truth), truth)
    assert [one.entry.case.name for one in found] == ["T2 B2", "T5 B3", "T5 B3 zero state", "T1 B1"]
