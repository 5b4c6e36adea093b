from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.rnnx.checks.conftest import lstm as lstm
from tests.rnnx.checks.conftest import model_of as model_of
from tests.rnnx.checks.conftest import step as step
from tests.rnnx.checks.conftest import unrolled as unrolled
from torch import nn

from rnnx.truths.cases import case_at
from rnnx.truths.stream import Stream, obstacle, run_calls
from rnnx_runtime.contract import Batching

TIME, BATCH = 7, 3


def _stream(contract: Any, time: int = TIME, **changes: Any) -> Stream:
    feeds = case_at(contract, time, BATCH).feeds
    x = np.random.default_rng(0).standard_normal((time, BATCH, 5), np.float32)
    state = {name: value for name, value in feeds.items() if name in ("h0", "c0")}
    return Stream(**{"frames": {"x": x}, "state": state, **changes})


def test_calls_carry_the_state_and_join_their_steps(lstm: Any) -> None:
    stream = _stream(lstm.contract)
    whole, parts = (run_calls(lstm.run, lstm.whole, stream, sizes).named() for sizes in ((7,), (3, 1, 3)))
    assert whole.keys() == parts.keys() == {"output", "hn", "cn"}
    assert whole["output"].shape == (7, 3, 8)
    for name, value in whole.items():
        np.testing.assert_allclose(parts[name], value, rtol=0, atol=1e-6)


def test_a_batch_first_model_gets_and_gives_its_own_order(model_of: Any) -> None:
    first, other = (model_of(lambda: nn.GRU(5, 8), batch_first=value) for value in (True, False))
    stream = _stream(other.contract)
    for sizes in ((7,), (2, 5)):
        found, expected = (run_calls(model.run, model.whole, stream, sizes).named() for model in (first, other))
        assert all(np.array_equal(found[name], value) for name, value in expected.items())


def test_a_row_that_has_ended_leaves_the_batch(lstm: Any) -> None:
    stream = _stream(lstm.contract, lengths=np.array([2, 7, 4], np.int32))
    probe = lstm.probe()
    parts = run_calls(probe.run, lstm.whole, stream, (2, 2, 3)).named()
    whole = run_calls(lstm.run, lstm.whole, stream, (7,)).named()
    assert [case.feeds["lengths"].tolist() for case in probe.candidate.calls] == [[2, 2, 2], [2, 2], [3]]
    assert [case.feeds["x"].shape[1] for case in probe.candidate.calls] == [3, 2, 1]
    assert not parts["output"][2:, 0].any()
    for name, value in whole.items():
        np.testing.assert_allclose(parts[name], value, rtol=0, atol=1e-6)


def test_a_steps_calls_are_named_for_what_they_give(step: Any) -> None:
    stream = _stream(step.contract)
    found = run_calls(step.run, step.whole, stream, (1,) * 7).named()
    assert found.keys() == {"each hn", "hn", "cn"}
    assert np.array_equal(found["each hn"][-1], found["hn"])


def test_an_unrolled_decoders_calls_are_as_long_as_it_is(unrolled: Any) -> None:
    found = run_calls(unrolled.run, unrolled.whole, _stream(unrolled.contract, 8), (4, 4)).named()
    assert found["output"].shape == (8, 3, 8)
    assert np.array_equal(found["output"][-1], found["hn"])


def test_a_state_is_fed_back_in_the_precision_it_was_given_in(lstm: Any) -> None:
    dtypes: list[Any] = []

    def run(case: Any) -> Any:
        dtypes.append(case.feeds["h0"].dtype.name)
        return lstm.source().double(case)

    run_calls(run, lstm.whole, _stream(lstm.contract, lengths=np.array([1, 7, 7], np.int32)), (1, 3, 3))
    assert dtypes == ["float32", "float64", "float64"]


def test_calls_are_named_by_their_steps(lstm: Any) -> None:
    probe = lstm.probe()
    run_calls(probe.run, lstm.whole, _stream(lstm.contract), (3, 1, 3))
    assert [case.name for case in probe.candidate.calls] == ["steps 1 to 3", "step 4", "steps 5 to 7"]


OBSTACLES: dict[str, tuple[Any, dict[str, Any], tuple[str, ...], str]] = {
    "none": (nn.LSTM, {}, ("output", "hn", "cn"), ""),
    "no-output": (nn.LSTM, {}, ("hn", "cn"), ""),
    "gru": (nn.GRU, {}, ("output", "hn"), ""),
    "bidirectional": (
        lambda i, h: nn.LSTM(i, h, bidirectional=True),
        {},
        ("output", "hn", "cn"),
        "the backward direction",
    ),
    "no-states": (nn.LSTM, {"state_inputs": False}, ("output", "hn", "cn"), "the model takes no states"),
    "no-cn": (nn.LSTM, {}, ("output", "hn"), "the model does not give cn,"),
    "only-output": (nn.LSTM, {}, ("output",), "the model does not give hn and cn,"),
}


@pytest.mark.parametrize(("build", "changes", "names", "reason"), OBSTACLES.values(), ids=OBSTACLES)
def test_what_keeps_a_state_from_being_carried(
    model_of: Any, build: Any, changes: Any, names: Any, reason: str
) -> None:
    contract = model_of(lambda: build(5, 8), **changes).whole
    found = obstacle(contract, [spec for spec in contract.outputs if spec.name in names])
    assert found.startswith(reason)
    assert bool(found) == bool(reason)


def test_rows_that_depend_on_each_other_cannot_leave_the_batch_at_their_end(lstm: Any) -> None:
    layer = lstm.whole
    named = (replace(layer.recurrent[0], name="lstm"),)
    whole = replace(layer, recurrent=named, batching=Batching(rows="coupled", reason="a mean over the batch"))
    assert obstacle(whole, whole.outputs).startswith("rows may depend on each other")
    assert not obstacle(replace(whole, batching=Batching()), whole.outputs)
