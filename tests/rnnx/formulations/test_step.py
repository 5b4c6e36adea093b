from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spox
import torch
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from torch import nn

import rnnx
import rnnx_runtime
from rnnx.formulations.graph import GraphBuilder
from rnnx.formulations.step import build, summed_bias
from rnnx.tracing.layer_weights import recurrence_of_layer, weights_from_layer
from rnnx.truths.cases import random_feeds
from rnnx.weights.weights import DirectionWeights
from rnnx_runtime import State

Array = NDArray[Any]

SEED = 20264
CELLS: dict[str, Any] = {"lstm": nn.LSTMCell, "gru": nn.GRUCell, "rnn": nn.RNNCell}
CELL_AND_BIAS = [
    pytest.param(cell, bias, id=f"{cell}-{'bias' if bias else 'plain'}") for cell, bias in product(CELLS, (True, False))
]


@pytest.mark.parametrize(("cell", "bias"), CELL_AND_BIAS)
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_a_step_is_as_close_to_the_truth_as_pytorch(
    tmp_path: Path, torch_outputs: Callable[..., dict[str, Array]], cell: str, bias: bool, batch: int
) -> None:
    torch.manual_seed(SEED)
    module = CELLS[cell](3, 5, bias=bias)
    contract = rnnx.export(module, tmp_path / "model.onnx").contract
    feeds = random_feeds(contract.layer(), 1, batch, SEED)
    truth, single = (torch_outputs(module, contract, feeds, dtype) for dtype in (torch.float64, torch.float32))
    with rnnx_runtime.load(tmp_path / "model.onnx") as session:
        y, state = session.step(feeds["x"], State(feeds["h0"], feeds.get("c0")))
    assert np.array_equal(y, state.h)
    for name, value in (("hn", state.h), ("cn", state.c)):
        if value is not None:
            limit = max(8 * np.abs(single[name] - truth[name]).max(), 1e-6)
            assert np.abs(value - truth[name]).max() <= limit, name


@pytest.mark.parametrize("cell", CELLS)
def test_steps_that_carry_the_state_follow_pytorch(tmp_path: Path, cell: str) -> None:
    torch.manual_seed(SEED)
    module = CELLS[cell](3, 5)
    rnnx.export(module, tmp_path / "model.onnx")
    x = np.random.default_rng(SEED).standard_normal((20, 2, 3), np.float32)
    carried: Any = None
    state: State | None = None
    with rnnx_runtime.load(tmp_path / "model.onnx") as session, torch.no_grad():
        for now in x:
            y, state = session.step(now, state)
            carried = module(torch.from_numpy(now), carried)
            expected = carried[0] if isinstance(carried, tuple) else carried
            np.testing.assert_allclose(y, expected.numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("cell", "nodes"),
    [
        (
            "lstm",
            {"Add": 1, "Concat": 1, "Constant": 2, "Gemm": 1, "Identity": 1, "Mul": 3, "Sigmoid": 1, "Split": 2}
            | {"Tanh": 2},
        ),
        ("gru", {"Add": 3, "Constant": 2, "Gemm": 2, "Mul": 2, "Sigmoid": 1, "Split": 3, "Sub": 1, "Tanh": 1}),
    ],
)
def test_a_step_is_a_product_and_its_gates(tmp_path: Path, cell: str, nodes: dict[str, int]) -> None:
    assert rnnx.export(CELLS[cell](3, 5), tmp_path / "model.onnx").nodes == nodes


def test_biases_are_summed_without_losing_bits() -> None:
    b_ih, b_hh = np.array([1.0, 3e-8], np.float32), np.array([6e-8, 1.0], np.float32)
    summed = summed_bias(DirectionWeights(w_ih=b_ih, w_hh=b_hh, b_ih=b_ih, b_hh=b_hh))
    assert summed.dtype == np.float32
    np.testing.assert_array_equal(summed, (b_ih.astype(np.float64) + b_hh).astype(np.float32))


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_a_plain_rnns_step_applies_its_nonlinearity(tmp_path: Path, nonlinearity: str) -> None:
    torch.manual_seed(SEED)
    module = nn.RNNCell(3, 5, nonlinearity=nonlinearity)
    rnnx.export(module, tmp_path / "model.onnx")
    x = np.random.default_rng(SEED).standard_normal((4, 3), np.float32)
    with rnnx_runtime.load(tmp_path / "model.onnx") as session, torch.no_grad():
        np.testing.assert_allclose(session.step(x)[0], module(torch.from_numpy(x)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_a_state_that_is_no_input_is_zeros(cell: str) -> None:
    torch.manual_seed(SEED)
    module = CELLS[cell](3, 5)
    contract = recurrence_of_layer(module, "", state_inputs=False, lengths=False)
    graph, x = GraphBuilder(), spox.argument(spox.Tensor(np.float32, ("B", 3)))
    outputs = build(graph, contract, weights_from_layer(module, ""), {"x": x})
    model = spox.build({"x": x, **graph.placeholders}, outputs)
    feeds = {weight.name: np.ascontiguousarray(weight.make()) for weight in graph.weights}
    feeds["x"] = np.random.default_rng(SEED).standard_normal((4, 3), np.float32)
    values = ReferenceEvaluator(model).run(None, feeds)
    with torch.no_grad():
        expected = module(torch.from_numpy(feeds["x"]))
    for actual, own in zip(values, expected if isinstance(expected, tuple) else (expected,), strict=True):
        np.testing.assert_allclose(actual, own, rtol=0, atol=1e-6)
