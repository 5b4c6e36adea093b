from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import rnnx
import rnnx_runtime
from rnnx import ExportOptions
from rnnx.truths.cases import random_feeds
from rnnx_runtime import InputError, State

Array = NDArray[Any]

SEED = 20265
CELLS: dict[str, Any] = {"lstm": nn.LSTMCell, "gru": nn.GRUCell, "rnn": nn.RNNCell}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "plain"])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_an_unrolled_decoder_is_as_close_to_the_truth_as_pytorch(
    tmp_path: Path, torch_outputs: Callable[..., dict[str, Array]], cell: str, bias: bool, steps: int
) -> None:
    torch.manual_seed(SEED)
    module = CELLS[cell](3, 5, bias=bias)
    options = ExportOptions(form="unrolled", steps=steps)
    contract = rnnx.export(module, tmp_path / "model.onnx", options).contract
    assert (contract.layer().form, contract.layer().steps) == ("unrolled", steps)
    with rnnx_runtime.load(tmp_path / "model.onnx") as session:
        for batch in (1, 2, 7):
            feeds = random_feeds(contract.layer(), steps, batch, SEED)
            truth, single = (torch_outputs(module, contract, feeds, dtype) for dtype in (torch.float64, torch.float32))
            output, state = session.run(feeds["x"], State(feeds["h0"], feeds.get("c0")))
            for name, value in (("output", output), ("hn", state.h), ("cn", state.c)):
                if value is not None:
                    limit = max(8 * np.abs(single[name] - truth[name]).max(), 1e-6)
                    assert np.abs(value - truth[name]).max() <= limit, (name, batch)


@pytest.mark.parametrize("cell", CELLS)
def test_an_unrolled_decoder_equals_its_steps(tmp_path: Path, cell: str) -> None:
    torch.manual_seed(SEED)
    module = CELLS[cell](3, 5)
    rnnx.export(module, tmp_path / "unrolled.onnx", ExportOptions(form="unrolled", steps=5))
    rnnx.export(module, tmp_path / "step.onnx")
    x = np.random.default_rng(SEED).standard_normal((5, 2, 3), np.float32)
    with (
        rnnx_runtime.load(tmp_path / "unrolled.onnx") as unrolled,
        rnnx_runtime.load(tmp_path / "step.onnx") as step,
    ):
        output, last = unrolled.run(x)
        state: State | None = None
        for now, expected in zip(x, output, strict=True):
            y, state = step.step(now, state)
            np.testing.assert_allclose(y, expected, rtol=0, atol=1e-6)
    assert state is not None
    np.testing.assert_allclose(state.h, last.h, rtol=0, atol=1e-6)


def test_a_decoder_of_one_step_can_be_stepped(tmp_path: Path) -> None:
    rnnx.export(nn.GRUCell(3, 5), tmp_path / "model.onnx", ExportOptions(form="unrolled", steps=1))
    x = np.ones((2, 3), np.float32)
    with rnnx_runtime.load(tmp_path / "model.onnx") as session:
        y, state = session.step(x)
        output, again = session.run(x[np.newaxis])
    np.testing.assert_array_equal(y, output[0])
    np.testing.assert_array_equal(state.h, again.h)


def test_a_decoder_of_more_steps_cannot_be_stepped(tmp_path: Path) -> None:
    rnnx.export(nn.GRUCell(3, 5), tmp_path / "model.onnx", ExportOptions(form="unrolled", steps=2))
    with (
        rnnx_runtime.load(tmp_path / "model.onnx") as session,
        pytest.raises(InputError, match="got 2 unrolled steps, expected a model with a single next step"),
    ):
        session.step(np.ones((2, 3), np.float32))


def test_a_decoder_takes_exactly_its_steps(tmp_path: Path) -> None:
    rnnx.export(nn.LSTMCell(3, 5), tmp_path / "model.onnx", ExportOptions(form="unrolled", steps=2))
    with (
        rnnx_runtime.load(tmp_path / "model.onnx") as session,
        pytest.raises(InputError, match=r"input 'x': got float32 \(3, 1, 3\), expected float32 \(2, B, 3\)"),
    ):
        session.run(np.ones((3, 1, 3), np.float32))


@pytest.mark.parametrize(("cell", "products"), [("lstm", 1 + 4), ("gru", 1 + 4), ("rnn", 1 + 4)])
def test_the_input_projection_is_one_product_for_all_steps(tmp_path: Path, cell: str, products: int) -> None:
    report = rnnx.export(CELLS[cell](3, 5), tmp_path / "model.onnx", ExportOptions(form="unrolled", steps=4))
    assert report.nodes["MatMul"] == products
    assert "Identity" not in report.nodes
