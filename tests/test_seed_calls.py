"""The four calls rnnx exists for, each exported, built into an engine, verified, and run by the runtime.

`nn.LSTM(10, 20)` and `nn.GRU(10, 20)` on `X (5, 3, 10)`; `nn.LSTMCell(10, 20)` and `nn.GRUCell(10, 20)` over the same
five steps. All start from zeros; weights and inputs come from torch's seed 0.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rnnx
import rnnx_runtime

BOUND = 1e-6
"""Far above float32's rounding at these sizes (about 2e-7), far below any wrong gate (about 1e-1)."""


@pytest.fixture
def inputs() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(5, 3, 10)


def _exported(
    module: nn.Module, path: Path, options: rnnx.ExportOptions | None = None
) -> tuple[rnnx_runtime.Session, rnnx.VerificationReport]:
    """Export, build an engine, verify against the checkpoint, open in the runtime."""
    checkpoint = path.with_suffix(".pt")
    torch.save(module.state_dict(), checkpoint)
    rnnx.export(checkpoint, path, options)
    engine = rnnx.build_engine(path, path.with_suffix(".plan"))
    assert engine.path.stat().st_size == engine.bytes > 0
    report = rnnx.verify(path, rnnx.VerifyOptions(checkpoint=checkpoint, engine=engine.path, latency=False))
    return rnnx_runtime.load(path), report


def _assert_proven(report: rnnx.VerificationReport) -> None:
    status = {row.backend: row.status for row in report.parity.rows}
    assert report
    assert status["pytorch-cpu"] == status["ort-cpu"] == "pass"
    engine = next(row for row in report.parity.rows if row.backend.startswith("tensorrt"))
    assert engine.status == "pass" or (engine.status == "skip" and "CUDA device" in engine.reason)
    skipped = [row for row in report.parity.rows if row.status == "skip"]
    assert all(row.reason and not row.outputs for row in skipped)


def _assert_close(actual: object, expected: Tensor, shape: tuple[int, ...]) -> None:
    assert isinstance(actual, np.ndarray)
    assert actual.shape == tuple(expected.shape) == shape
    assert float(np.abs(actual - expected.detach().numpy()).max()) <= BOUND


@pytest.mark.tensorrt
def test_lstm_call(inputs: Tensor, tmp_path: Path) -> None:
    lstm = nn.LSTM(10, 20)
    h0, c0 = torch.zeros(1, 3, 20), torch.zeros(1, 3, 20)
    output, (hn, cn) = lstm(inputs, (h0, c0))
    session, report = _exported(lstm, tmp_path / "lstm.onnx")
    _assert_proven(report)
    actual, state = session.run(inputs.numpy(), rnnx_runtime.State(h0.numpy(), c0.numpy()))
    _assert_close(actual, output, (5, 3, 20))
    _assert_close(state.h, hn, (1, 3, 20))
    _assert_close(state.c, cn, (1, 3, 20))


@pytest.mark.tensorrt
def test_lstm_cell_call(inputs: Tensor, tmp_path: Path) -> None:
    cell = nn.LSTMCell(10, 20)
    hx, cx = torch.zeros(3, 20), torch.zeros(3, 20)
    outputs = []
    for x in inputs:
        hx, cx = cell(x, (hx, cx))
        outputs.append(hx)

    session, report = _exported(cell, tmp_path / "step.onnx")
    _assert_proven(report)
    state, stepped = session.initial_state(3), []
    for x in inputs.numpy():
        y, state = session.step(x, state)
        stepped.append(y)
    _assert_close(np.stack(stepped), torch.stack(outputs), (5, 3, 20))
    _assert_close(state.h, hx, (3, 20))
    _assert_close(state.c, cx, (3, 20))

    options = rnnx.ExportOptions(form="unrolled", steps=5)
    unrolled, report = _exported(cell, tmp_path / "unrolled.onnx", options)
    _assert_proven(report)
    actual, state = unrolled.run(inputs.numpy(), unrolled.initial_state(3))
    _assert_close(actual, torch.stack(outputs), (5, 3, 20))
    _assert_close(state.h, hx, (3, 20))
    _assert_close(state.c, cx, (3, 20))


@pytest.mark.tensorrt
def test_gru_call(inputs: Tensor, tmp_path: Path) -> None:
    gru = nn.GRU(10, 20)
    h0 = torch.zeros(1, 3, 20)
    output, hn = gru(inputs, h0)
    session, report = _exported(gru, tmp_path / "gru.onnx")
    _assert_proven(report)
    actual, state = session.run(inputs.numpy(), rnnx_runtime.State(h0.numpy()))
    _assert_close(actual, output, (5, 3, 20))
    _assert_close(state.h, hn, (1, 3, 20))
    assert state.c is None


@pytest.mark.tensorrt
def test_gru_cell_call(inputs: Tensor, tmp_path: Path) -> None:
    cell = nn.GRUCell(10, 20)
    hx = torch.zeros(3, 20)
    outputs = []
    for x in inputs:
        hx = cell(x, hx)
        outputs.append(hx)

    session, report = _exported(cell, tmp_path / "step.onnx")
    _assert_proven(report)
    state, stepped = session.initial_state(3), []
    for x in inputs.numpy():
        y, state = session.step(x, state)
        stepped.append(y)
    _assert_close(np.stack(stepped), torch.stack(outputs), (5, 3, 20))
    _assert_close(state.h, hx, (3, 20))

    options = rnnx.ExportOptions(form="unrolled", steps=5)
    unrolled, report = _exported(cell, tmp_path / "unrolled.onnx", options)
    _assert_proven(report)
    actual, state = unrolled.run(inputs.numpy())
    _assert_close(actual, torch.stack(outputs), (5, 3, 20))
    _assert_close(state.h, hx, (3, 20))
    assert state.c is None
