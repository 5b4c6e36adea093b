"""Whatever streams do in a pool, each gets what a session of its own would give it, frame by frame."""

from pathlib import Path

import pytest
import torch
from tests.rnnx_runtime.pool.schedules import run_schedules
from torch import nn

import rnnx

MODELS: dict[str, tuple[type[nn.Module], tuple[int, ...], dict[str, int], rnnx.ExportOptions]] = {
    "lstm": (nn.LSTM, (5, 8), {}, rnnx.ExportOptions()),
    "gru-2-batch-first": (nn.GRU, (5, 8, 2), {"batch_first": True}, rnnx.ExportOptions()),
    "lstm-lengths": (nn.LSTM, (5, 8), {}, rnnx.ExportOptions(lengths=True)),
    "lstm-step": (nn.LSTMCell, (5, 8), {}, rnnx.ExportOptions()),
    "gru-step": (nn.GRUCell, (5, 8), {}, rnnx.ExportOptions()),
    "lstm-2-projected": (nn.LSTM, (5, 8, 2), {"proj_size": 3}, rnnx.ExportOptions()),
    "rnn": (nn.RNN, (5, 8), {}, rnnx.ExportOptions()),
}


@pytest.mark.parametrize("name", MODELS)
def test_any_schedule_gives_what_lone_sessions_give(name: str, tmp_path: Path) -> None:
    kind, sizes, arguments, options = MODELS[name]
    torch.manual_seed(20264)
    path = tmp_path / "model.onnx"
    rnnx.export(kind(*sizes, **arguments), path, options)
    tally = run_schedules(path, examples=50, steps=50)
    assert tally.schedules >= 50
    assert min(tally.pushes, tally.cancelled, tally.late, tally.swaps) > 0
