from typing import Any

import numpy as np
import pytest
from torch import nn

from rnnx.checks.padding import check_padding
from rnnx.checks.plan import plan_checks
from rnnx.truths.cases import Case, case_at
from rnnx.truths.rows import padded


def _zeroed_by_a_mask(run: Any, case: Case) -> dict[str, Any]:
    """All steps computed, and multiplied by 0 past the length: right, but for what 0 × NaN is."""
    steps = np.arange(len(case.feeds["x"]))[:, np.newaxis] < case.feeds["lengths"]
    values: dict[str, Any] = run(case)
    values["output"] = values["output"] + case.feeds["x"][..., :1] * 0 * ~steps[..., np.newaxis]
    return values


def _lengths_ignored(run: Any, case: Case) -> dict[str, Any]:
    full = np.full_like(case.feeds["lengths"], len(case.feeds["x"]))
    values: dict[str, Any] = run(Case(name=case.name, feeds={**case.feeds, "lengths": full}))
    return values


def test_a_row_is_not_read_past_its_length(bidirectional: Any) -> None:
    result = check_padding(bidirectional.probe(), plan_checks(bidirectional.inputs, "quick").cases)
    assert (result.status, result.bitwise, result.max_difference) == ("pass", True, 0)
    assert result.detail == "padding of zeros, 10,000, NaN for random values: no bit differs"


def test_ignored_lengths_fail(lstm: Any) -> None:
    result = check_padding(lstm.probe(_lengths_ignored), plan_checks(lstm.inputs, "quick").cases)
    assert (result.status, result.backend) == ("fail", "fake")


def test_a_nan_that_a_mask_multiplies_by_zero_fails(lstm: Any) -> None:
    result = check_padding(lstm.probe(_zeroed_by_a_mask), plan_checks(lstm.inputs, "quick").cases)
    assert result.status == "fail"
    assert result.detail.startswith("output of T7 B5 with padding of NaN: got 80 of 280 values are NaN or Inf")


def test_without_lengths_there_is_no_padding(model_of: Any) -> None:
    model = model_of(lambda: nn.GRU(5, 8))
    result = check_padding(model.probe(), plan_checks(model.inputs, "quick").cases)
    assert (result.status, result.detail) == ("skip", "the model takes no lengths, so that there is no padding")


@pytest.mark.parametrize("batch_first", [False, True], ids=["tbi", "bti"])
def test_the_fill_is_exactly_where_a_row_has_ended(model_of: Any, batch_first: bool) -> None:
    model = model_of(lambda: nn.GRU(5, 8), lengths=True, batch_first=batch_first)
    feeds = {**case_at(model.contract, 4, 2).feeds, "lengths": np.array([1, 4], np.int32)}
    found = padded(model.whole, feeds, np.nan)["x"]
    rows = found if batch_first else found.swapaxes(0, 1)
    assert np.isnan(rows).all(axis=2).tolist() == [[False, True, True, True], [False] * 4]
    assert np.array_equal(np.where(np.isnan(found), feeds["x"], found), feeds["x"])
    assert np.isfinite(feeds["x"]).all()
