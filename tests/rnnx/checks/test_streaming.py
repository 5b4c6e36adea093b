from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from torch import nn

from rnnx.checks.plan import plan_checks
from rnnx.checks.streaming import StreamCase, check_streaming, chunkings
from rnnx.parity.tolerances import TOLERANCES
from rnnx.truths.cases import Case
from rnnx.truths.stream import run_calls

Values = dict[str, Any]


def _state_ignored(name: str) -> Any:
    def change(run: Any, case: Case) -> Values:
        feeds = {**case.feeds, name: np.zeros_like(case.feeds[name])}
        values: Values = run(Case(name=case.name, feeds=feeds))
        return values

    return change


def _states_swapped(run: Any, case: Case) -> Values:
    values: Values = run(case)
    return {**values, "hn": values["cn"], "cn": values["hn"]}


def _state_before_the_last_step(run: Any, case: Case) -> Values:
    """`hn` of a row that ends before T is what it was one step too early."""
    values: Values = run(case)
    hn = values["hn"].copy()
    for row, length in enumerate(case.feeds["lengths"]):
        if 1 < length < len(case.feeds["x"]):
            hn[0, row] = values["output"][length - 2, row]
    return {**values, "hn": hn}


def _nan_in_the_third_call(run: Any, case: Case) -> Values:
    values: Values = run(case)
    if case.name == "step 3":
        values["cn"][0, 1] = np.nan
    return values


def _check(model: Any, change: Any = lambda run, case: run(case), **fields: Any) -> Any:
    return check_streaming(model.probe(change, **fields), plan_checks(model.inputs, "quick", model.source()).streams)


def test_an_encoder_in_chunks_is_the_encoder(lstm: Any) -> None:
    result = _check(lstm)
    assert result.status == "pass"
    assert result.bitwise is not None
    assert result.detail.startswith("one step at a time, halves, ragged chunks against one call")


def test_a_stack_in_chunks_is_the_stack_batch_first_and_without_lengths(model_of: Any) -> None:
    assert _check(model_of(lambda: nn.GRU(5, 8, 3), batch_first=True)).status == "pass"


@pytest.mark.parametrize("form", ["step", "unrolled"])
def test_a_cells_calls_follow_the_float64_truth(form: str, request: pytest.FixtureRequest) -> None:
    result = _check(request.getfixturevalue(form))
    assert (result.status, result.bitwise) == ("pass", None)
    assert 0 < result.max_difference < result.limit / 4
    assert result.detail.startswith(f"{ {'step': 7, 'unrolled': 2}[form] } calls against the float64 truth")


BROKEN: dict[str, tuple[str, Any]] = {
    "encoder-h0-ignored": ("lstm", _state_ignored("h0")),
    "encoder-c0-ignored": ("lstm", _state_ignored("c0")),
    "encoder-states-swapped": ("lstm", _states_swapped),
    "encoder-state-too-early": ("lstm", _state_before_the_last_step),
    "step-h0-ignored": ("step", _state_ignored("h0")),
    "step-c0-ignored": ("step", _state_ignored("c0")),
    "step-states-swapped": ("step", _states_swapped),
    "unrolled-h0-ignored": ("unrolled", _state_ignored("h0")),
}


@pytest.mark.parametrize(("form", "change"), BROKEN.values(), ids=BROKEN)
def test_a_state_that_is_not_carried_fails(form: str, change: Any, request: pytest.FixtureRequest) -> None:
    result = _check(request.getfixturevalue(form), change)
    assert result.status == "fail"
    assert result.max_difference > 100 * result.limit
    assert "beyond the limit" in result.detail


@pytest.mark.parametrize(("form", "sides"), [("lstm", 2), ("step", 1)], ids=["encoder", "step"])
def test_the_limit_is_that_of_the_whole_sequence_for_each_side_that_rounds(
    form: str, sides: int, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(form)
    (case,) = plan_checks(model.inputs, "quick").streams
    floor = TOLERANCES["float32"].floor(5 + 8, case.time, 1.0)
    wide = replace(case, truth=_truth(model, case), float32_error=dict.fromkeys(("each hn", "output", "hn", "cn"), 1.0))
    plain = replace(wide, float32_error={})
    assert check_streaming(model.probe(), [plain]).limit == pytest.approx(sides * floor, rel=0.25)
    assert check_streaming(model.probe(), [wide]).limit == sides * TOLERANCES["float32"].ratio


def _truth(model: Any, case: StreamCase) -> Values:
    sizes = (case.time,) if model.contract.form == "encoder" else (1,) * case.time
    return run_calls(model.source().double, model.whole, case.stream, sizes).named()


def test_a_nan_in_one_call_fails(lstm: Any) -> None:
    result = _check(lstm, _nan_in_the_third_call)
    assert result.status == "fail"
    assert result.detail.startswith("cn of step 3: got 8 of 16 values are NaN or Inf")


@pytest.mark.parametrize("form", ["bidirectional", "step"])
def test_what_cannot_be_known_is_skipped(form: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(form)
    result = check_streaming(model.probe(), plan_checks(model.inputs, "quick").streams)
    assert result.status == "skip"
    reason = {"bidirectional": "the backward direction starts", "step": "no weights to compute the truth"}[form]
    assert result.detail.startswith(reason)


def test_an_encoder_needs_no_weights(lstm: Any) -> None:
    streams = plan_checks(lstm.inputs, "quick").streams
    assert check_streaming(lstm.probe(), streams).status == "pass"
    assert check_streaming(lstm.probe(_state_ignored("h0")), streams).status == "fail"


def test_only_chunkings_that_a_profile_takes_are_run(lstm: Any) -> None:
    result = _check(lstm, covers=lambda sizes: sizes["T"] > 2)
    assert result.status == "pass"
    assert result.detail.endswith("; not all, for no profile of the engine takes T=1, B=3")
    alone = _check(lstm, covers=lambda sizes: sizes["T"] == 7)
    assert (alone.status, alone.detail) == ("skip", "no profile of the engine takes T=1, B=3")


def test_a_file_without_output_is_judged_by_its_states(lstm: Any) -> None:
    states = [spec for spec in lstm.contract.outputs if spec.name != "output"]
    assert _check(lstm, outputs=states).status == "pass"
    assert _check(lstm, _state_ignored("c0"), outputs=states).status == "fail"


@pytest.mark.parametrize("time", [2, 3, 4, 7, 60])
def test_every_chunking_covers_the_time_once(time: int) -> None:
    found = chunkings(time)
    assert all(sum(sizes) == time and min(sizes) >= 1 and len(sizes) > 1 for sizes in found.values())
    assert len(set(found.values())) == len(found)
    assert found["one step at a time"] == (1,) * time


def test_ragged_chunks_are_of_several_sizes() -> None:
    assert chunkings(7) == {
        "one step at a time": (1,) * 7,
        "halves": (4, 3),
        "ragged chunks": (3, 1, 2, 1),
    }
    assert chunkings(1) == {}
