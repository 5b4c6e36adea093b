from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

import rnnx
from rnnx.runners.candidates import SessionCandidate
from rnnx.timing.inputs import timing_feeds
from rnnx.truths.cases import Case
from rnnx.truths.model_cases import CaseSource


@pytest.mark.parametrize("layer", [nn.LSTM(5, 8), nn.GRU(5, 8), nn.LSTMCell(5, 8)], ids=["lstm", "gru", "step"])
def test_a_stream_carries_the_state_from_step_to_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layer: nn.Module
) -> None:
    report = rnnx.export(layer, tmp_path / "model.onnx")
    feeds = timing_feeds(CaseSource(contract=report.contract, example={}), {"T": 1, "B": 1})
    candidate = SessionCandidate("ort-cpu", Path(report.path), 1)
    first = candidate.outputs(Case(name="first", feeds=feeds))
    states: list[Any] = []
    run = candidate._session.run

    def noted(x: Any, state: Any, lengths: Any) -> Any:
        states.append(state)
        return run(x, state, lengths)

    monkeypatch.setattr(candidate._session, "run", noted)
    step = candidate.prepare_stream(feeds)
    step()
    step()
    np.testing.assert_array_equal(states[0].h, feeds["h0"])
    np.testing.assert_array_equal(states[1].h, first["hn"])
    candidate.close()


def test_a_session_on_the_cpu_has_no_device_resident_call(tmp_path: Path) -> None:
    report = rnnx.export(nn.LSTM(5, 8), tmp_path / "model.onnx")
    candidate = SessionCandidate("ort-cpu", Path(report.path), 1)
    assert (
        candidate.prepare_on_device(timing_feeds(CaseSource(contract=report.contract, example={}), {"T": 3, "B": 2}))
        is None
    )
    candidate.close()
