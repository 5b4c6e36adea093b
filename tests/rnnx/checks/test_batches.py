from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from torch import nn

from rnnx.checks.batches import check_batch_mates, check_batch_order, check_batch_split
from rnnx.checks.plan import plan_checks
from rnnx.truths.cases import Case

Values = dict[str, Any]
CHECKS = {"order": check_batch_order, "mates": check_batch_mates, "split": check_batch_split}


def _place_matters(run: Any, case: Case) -> Values:
    values: Values = run(case)
    place = np.arange(values["hn"].shape[-2], dtype=np.float32)[:, np.newaxis]
    return {**values, "hn": values["hn"] + np.float32(1e-3) * place}


def _first_of_many_is_dropped(run: Any, case: Case) -> Values:
    """Wrong in batches alone: no other batch of the same size shows it."""
    values: Values = run(case)
    if values["hn"].shape[-2] > 1:
        values["cn"] = values["cn"] + np.float32(1e-3)
    return values


def _normalised_over_the_batch(run: Any, case: Case) -> Values:
    x = case.feeds["x"]
    values: Values = run(Case(name=case.name, feeds={**case.feeds, "x": x - x.mean(axis=-2, keepdims=True)}))
    return values


def _leaks_the_next_row(run: Any, case: Case) -> Values:
    x = case.feeds["x"]
    values: Values = run(Case(name=case.name, feeds={**case.feeds, "x": x + 1e-3 * np.roll(x, 1, axis=-2)}))
    return values


def _poisoned_by_any_nan(run: Any, case: Case) -> Values:
    """A scale taken over the whole batch, here only to multiply by one: a NaN anywhere is then everywhere."""
    scale = np.abs(case.feeds["x"]).max()
    return {name: value * (scale / scale) for name, value in run(case).items()}


def _last_bit_by_size(run: Any, case: Case) -> Values:
    values: Values = run(case)
    return {**values, "hn": values["hn"] + np.float32(1e-7) * values["hn"].shape[-2]}


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
@pytest.mark.parametrize("form", ["lstm", "bidirectional", "step", "unrolled"])
def test_a_row_is_a_sequence_of_its_own(form: str, check: Any, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(form)
    result = check(model.probe(), plan_checks(model.inputs, "quick").cases)
    assert result.status == "pass"
    assert result.limit > 0


def test_rows_of_a_batch_first_model_are_its_first_axis(model_of: Any) -> None:
    model = model_of(lambda: nn.GRU(5, 8), batch_first=True, lengths=True)
    cases = plan_checks(model.inputs, "quick").cases
    assert all(check(model.probe(), cases).status == "pass" for check in CHECKS.values())


SPOILED: dict[str, tuple[Callable[[Any, Case], Values], set[str]]] = {
    "place-in-the-batch": (_place_matters, {"order", "mates", "split"}),
    "batches-alone": (_first_of_many_is_dropped, {"mates", "split"}),
    "normalised-over-the-batch": (_normalised_over_the_batch, {"mates", "split"}),
    "next-row-leaks": (_leaks_the_next_row, {"order", "mates", "split"}),
    "nan-poisons-the-batch": (_poisoned_by_any_nan, {"mates"}),
}


@pytest.mark.parametrize(("change", "failing"), SPOILED.values(), ids=SPOILED)
def test_exactly_the_checks_of_what_is_broken_fail(lstm: Any, change: Any, failing: set[str]) -> None:
    cases = plan_checks(lstm.inputs, "quick").cases
    assert {name for name, check in CHECKS.items() if not check(lstm.probe(change), cases)} == failing


def test_a_last_bit_is_reported_and_allowed(lstm: Any) -> None:
    cases = plan_checks(lstm.inputs, "quick").cases
    exact, rounded = (check_batch_split(lstm.probe(change), cases) for change in (lambda r, c: r(c), _last_bit_by_size))
    assert rounded.status == "pass"
    assert rounded.bitwise is False
    assert rounded.max_difference == pytest.approx(4e-7, rel=0.5)
    assert rounded.detail.startswith("the batch in two parts: furthest apart in hn, T7 B5 as B")
    assert exact.limit == pytest.approx(rounded.limit, rel=1e-3)


def test_where_it_is_worst_is_said(lstm: Any) -> None:
    result = check_batch_order(lstm.probe(_place_matters), plan_checks(lstm.inputs, "quick").cases)
    assert result.max_difference == pytest.approx(4e-3, rel=1e-3)
    assert result.detail == (
        "the batch in reverse and shuffled: furthest apart in hn, T7 B5 reversed (2 of 6 comparisons beyond the limit)"
    )


def test_sizes_beyond_an_engines_profile_are_skipped(lstm: Any) -> None:
    probe = lstm.probe(covers=lambda sizes: sizes["B"] > 3)
    cases = plan_checks(lstm.inputs, "quick").cases
    reason = "no profile of the engine takes T=7, B=1"
    assert check_batch_order(probe, cases).status == "pass"
    split, mates = check_batch_split(probe, cases), check_batch_mates(probe, cases)
    assert (split.status, split.detail) == ("skip", reason)
    assert (mates.status, mates.bitwise) == ("pass", True)
    assert mates.detail.endswith(f"; not all, for {reason}")


def test_mates_within_a_profile_are_still_judged(lstm: Any) -> None:
    probe = lstm.probe(_poisoned_by_any_nan, covers=lambda sizes: sizes["B"] > 3)
    assert check_batch_mates(probe, plan_checks(lstm.inputs, "quick").cases).status == "fail"
