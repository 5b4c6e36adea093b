"""A stream that moves between ONNX Runtime and the TensorRT backend, its library a stand-in in NumPy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import rnnx
import rnnx_runtime
from rnnx.weights.torch_tensors import TorchCheckpoint
from rnnx.weights.weights import choose_module, read_weights

MODULES: dict[str, Callable[[], nn.Module]] = {
    "lstm": lambda: nn.LSTM(3, 4, 2),
    "gru": lambda: nn.GRU(3, 4, 2),
    "lstm-step": lambda: nn.LSTMCell(3, 4),
    "gru-step": lambda: nn.GRUCell(3, 4),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_stream_goes_on_on_an_engine_and_back(bench: Any, tmp_path: Path, name: str) -> None:
    torch.manual_seed(3)
    module = MODULES[name]()
    checkpoint = TorchCheckpoint("module", dict(module.state_dict()))
    path = tmp_path / "model.onnx"
    bench.contract = rnnx.export(module, path).contract
    bench.use(bench.small).engine.weights = read_weights(checkpoint, choose_module(checkpoint, None))
    x = np.random.default_rng(3).standard_normal((16, 3), np.float32)
    with rnnx_runtime.load(path) as on_cpu, bench.load() as on_engine:
        whole = on_cpu.stream().push(x)
        data, outputs = None, []
        for session, turn in zip((on_cpu, on_engine, on_cpu, on_engine), np.split(x, 4), strict=True):
            stream = session.stream(data)
            outputs += [stream.push(turn[:3]), stream.push(turn[3])[None]]
            data = stream.snapshot()
    np.testing.assert_allclose(np.concatenate(outputs), whole, atol=1e-6)


def test_the_state_of_a_stream_stays_on_the_device(bench: Any) -> None:
    with bench.load() as session:
        stream = session.stream()
        stream.push(np.ones(3, np.float32))
        state = stream.state
        assert state.is_on_device
        other = session.stream()
        other.reset(state)
        np.testing.assert_array_equal(other.push(np.ones(3, np.float32)), stream.push(np.ones(3, np.float32)))
