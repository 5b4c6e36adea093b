from typing import Any

import numpy as np
import pytest

from rnnx.checks.differences import CheckCase, Difference, allowed, allowed_apart, conclude, differences
from rnnx.checks.probe import Uncovered
from rnnx.parity.tolerances import TOLERANCES
from rnnx.truths.cases import case_at
from rnnx_runtime import BackendError


def _difference(largest: float, *, bitwise: bool | None = False) -> Difference:
    return Difference(where=f"hn, {largest}", largest=largest, limit=1.0, bitwise=bitwise)


def test_two_results_may_be_twice_as_far_apart_as_each_from_the_truth(bidirectional: Any) -> None:
    probe, case = bidirectional.probe(), case_at(bidirectional.contract, 7, 5)
    values = bidirectional.run(case)
    size = np.sqrt(np.mean(np.square(case.feeds["x"], dtype=np.float64)))
    for name, limit in allowed_apart(probe, CheckCase(case=case), values).items():
        largest = max(size, np.abs(values[name]).max())
        assert limit == pytest.approx(2 * TOLERANCES["float32"].floor(16 + 8, 7 * 2, largest))


def test_a_large_float32_error_widens_the_limit_of_its_output_alone(lstm: Any) -> None:
    case = case_at(lstm.contract, 7, 5)
    values = lstm.run(case)
    plain = allowed_apart(lstm.probe(), CheckCase(case=case), values)
    wide = allowed_apart(lstm.probe(), CheckCase(case=case, float32_error={"cn": 1.0}), values)
    assert wide["cn"] == 2 * TOLERANCES["float32"].ratio
    assert (wide["output"], wide["hn"]) == (plain["output"], plain["hn"])


def test_the_limit_grows_with_depth_precision_and_values(lstm: Any) -> None:
    x, values = {"x": np.ones((1, 1, 5), np.float32)}, {"cn": np.full((1, 1, 8), 0.5)}
    limit = allowed(lstm.probe(), values, x, 4, {})["cn"]
    assert allowed(lstm.probe(), values, x, 16, {})["cn"] == pytest.approx(2 * limit)
    assert allowed(lstm.probe(), {"cn": values["cn"] * 20}, x, 4, {})["cn"] == pytest.approx(10 * limit)
    assert allowed(lstm.probe(), values, {"x": x["x"] * 3}, 4, {})["cn"] == pytest.approx(3 * limit)
    assert allowed(lstm.probe(precision="tf32"), values, x, 4, {})["cn"] > 1000 * limit


def test_differences_are_by_output() -> None:
    left = {"hn": np.array([1.0, 2.0], np.float32), "cn": np.array([0.0], np.float32)}
    right = {"hn": np.array([1.0, 2.5], np.float32), "cn": np.array([-0.0], np.float32)}
    hn, cn = differences("there", left, right, {"hn": 1.0, "cn": 2.0})
    assert (hn.where, hn.largest, hn.limit, hn.bitwise, hn.share) == ("hn, there", 0.5, 1.0, False, 0.5)
    assert (cn.largest, cn.limit, cn.bitwise) == (0, 2.0, False)  # the sign of zero is a bit


def test_values_of_two_precisions_have_no_bits_in_common() -> None:
    value = np.array([1.0], np.float32)
    (found,) = differences("there", {"hn": value}, {"hn": value.astype(np.float64)}, {"hn": 1.0})
    assert found.bitwise is None


@pytest.mark.parametrize(("largest", "status"), [(1.0, "pass"), (1.0001, "fail")], ids=["at-the-limit", "beyond"])
def test_the_verdict_turns_at_the_limit(lstm: Any, largest: float, status: str) -> None:
    result = conclude(lstm.probe(), "streaming", "done", [iter([_difference(0.5), _difference(largest)])])
    assert (result.status, result.max_difference, result.bitwise) == (status, largest, False)
    assert result.detail.startswith(f"done: furthest apart in hn, {largest}")


def test_one_differing_bit_is_no_bitwise_result(lstm: Any) -> None:
    found = [
        [_difference(0, bitwise=True)] * 2,
        [_difference(0, bitwise=True), _difference(0)],
        [_difference(0, bitwise=None)],
    ]
    assert [conclude(lstm.probe(), "streaming", "", [iter(each)]).bitwise for each in found] == [True, False, None]


def _raising(error: Exception) -> Any:
    yield _difference(0.5)
    raise error


def test_an_error_in_between_is_a_failure_and_a_missing_profile_a_skip(lstm: Any) -> None:
    error = BackendError("run", got="a fault", expected="a result", remedy="restart")
    broken = conclude(lstm.probe(), "padding", "done", [_raising(error)])
    uncovered = conclude(lstm.probe(), "padding", "done", [_raising(Uncovered("no profile"))])
    assert (broken.status, broken.detail) == ("fail", "run: got a fault, expected a result; restart")
    assert (uncovered.status, uncovered.detail) == ("skip", "no profile")


def test_a_part_without_a_profile_leaves_the_others(lstm: Any) -> None:
    parts = [_raising(Uncovered("no profile")), iter([_difference(0.25)])]
    result = conclude(lstm.probe(), "padding", "done", parts)
    assert (result.status, result.max_difference) == ("pass", 0.25)
    assert result.detail == "done: furthest apart in hn, 0.25; not all, for no profile"


def test_another_shape_is_an_error_by_name() -> None:
    left, right = ({"hn": np.zeros(shape, np.float32)} for shape in ((1, 3), (2, 3)))
    with pytest.raises(BackendError, match=r"hn, there: got float32 \(1, 3\), expected \(2, 3\)"):
        list(differences("there", left, right, {"hn": 1.0}))
