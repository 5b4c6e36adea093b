from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import rnnx
import rnnx_runtime
from rnnx import ExportOptions, ExportReport
from rnnx.truths.cases import random_feeds
from rnnx_runtime import Contract, Session, State

Array = NDArray[Any]
TorchOutputs = Callable[..., dict[str, Array]]

SEED = 20263
SIZES = ((1, 1), (2, 2), (7, 3), (13, 5))
"""(T, B) of every comparison; an export knows none of them."""


class Variant(NamedTuple):
    cell: str
    layers: int
    bidirectional: bool
    bias: bool
    batch_first: bool
    state_inputs: bool
    lengths: bool

    def __str__(self) -> str:
        words = (
            self.cell,
            str(self.layers),
            "bi" if self.bidirectional else "uni",
            "bias" if self.bias else "plain",
            "bti" if self.batch_first else "tbi",
            "state" if self.state_inputs else "zeros",
            "lengths" if self.lengths else "full",
        )
        return "-".join(words)

    def module(self) -> nn.Module:
        torch.manual_seed(SEED)
        kind: Any = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[self.cell]
        return kind(  # type: ignore[no-any-return] # one of the three
            3, 5, self.layers, bias=self.bias, batch_first=self.batch_first, bidirectional=self.bidirectional
        )

    def options(self) -> ExportOptions:
        return ExportOptions(stateful=self.state_inputs, lengths=self.lengths)


EVERY = [
    Variant(*values)
    for values in product(
        ("lstm", "gru"), (1, 2, 3), (False, True), (True, False), (False, True), (True, False), (False, True)
    )
]
EVERY += [
    Variant("rnn", *values)
    for values in product((1, 2), (False, True), (True, False), (False, True), (True, False), (False, True))
]


def run(session: Session, feeds: dict[str, Array]) -> dict[str, Array]:
    state = State(feeds["h0"], feeds.get("c0")) if "h0" in feeds else None
    output, last = session.run(feeds["x"], state, feeds.get("lengths"))
    results = {"output": output, "hn": last.h}
    return results if last.c is None else {**results, "cn": last.c}


def assert_as_close_as_torch(
    actual: dict[str, Array], truth: dict[str, Array], single: dict[str, Array], contract: Contract
) -> None:
    assert list(actual) == [spec.name for spec in contract.outputs]
    for name, value in truth.items():
        assert actual[name].shape == value.shape
        assert actual[name].dtype == np.float32
        limit = max(8 * np.abs(single[name] - value).max(), 1e-6)
        assert np.abs(actual[name] - value).max() <= limit, name


@pytest.mark.parametrize("variant", EVERY, ids=str)
def test_an_encoder_is_as_close_to_the_truth_as_pytorch(
    tmp_path: Path, torch_outputs: TorchOutputs, variant: Variant
) -> None:
    module = variant.module()
    contract = rnnx.export(module, tmp_path / "model.onnx", variant.options()).contract
    assert contract.layer().batch_first == variant.batch_first
    with rnnx_runtime.load(tmp_path / "model.onnx") as session:
        for time, batch in SIZES:
            feeds = random_feeds(contract.layer(), time, batch, SEED)
            truth, single = (torch_outputs(module, contract, feeds, d) for d in (torch.float64, torch.float32))
            assert_as_close_as_torch(run(session, feeds), truth, single, contract)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["uni", "bi"])
def test_output_is_zero_past_each_length(tmp_path: Path, cell: str, bidirectional: bool) -> None:
    variant = Variant(cell, 2, bidirectional, True, False, True, True)
    rnnx.export(variant.module(), tmp_path / "model.onnx", variant.options())
    x = np.random.default_rng(SEED).standard_normal((6, 3, 3), np.float32)
    with rnnx_runtime.load(tmp_path / "model.onnx") as session:
        output, _ = session.run(x, lengths=np.array([6, 2, 4]))
    assert not output[2:, 1].any()
    assert not output[4:, 2].any()
    assert output[:2, 1].all()


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_full_lengths_equal_no_lengths(tmp_path: Path, cell: str) -> None:
    variant = Variant(cell, 2, True, True, False, True, True)
    rnnx.export(variant.module(), tmp_path / "lengths.onnx", variant.options())
    rnnx.export(variant.module(), tmp_path / "full.onnx")
    x = np.random.default_rng(SEED).standard_normal((6, 3, 3), np.float32)
    with (
        rnnx_runtime.load(tmp_path / "lengths.onnx") as with_lengths,
        rnnx_runtime.load(tmp_path / "full.onnx") as full,
    ):
        expected, _ = full.run(x)
        for lengths in (None, np.array([6, 6, 6])):
            np.testing.assert_allclose(with_lengths.run(x, lengths=lengths)[0], expected, rtol=0, atol=1e-6)


def graph_of(report: ExportReport) -> onnx.GraphProto:
    return onnx.load(report.path).graph


OWN_ATTRIBUTES: dict[str, dict[str, object]] = {
    "lstm": {"input_forget": 0},
    "gru": {"linear_before_reset": 1},
    "rnn": {},
}
FULLEST = [v for v in EVERY if v.bias and v.batch_first and v.state_inputs and v.lengths]


@pytest.mark.parametrize("variant", FULLEST, ids=str)
def test_the_graph_is_one_plain_recurrence_a_layer(tmp_path: Path, variant: Variant) -> None:
    report = rnnx.export(variant.module(), tmp_path / "model.onnx", variant.options())
    nodes = [node for node in graph_of(report).node if node.op_type == variant.cell.upper()]
    attributes = [{a.name: onnx.helper.get_attribute_value(a) for a in node.attribute} for node in nodes]
    expected: dict[str, object] = {
        "hidden_size": 5,
        "layout": 0,
        "direction": b"bidirectional" if variant.bidirectional else b"forward",
        **OWN_ATTRIBUTES[variant.cell],
    }
    if variant.cell == "rnn":
        expected["activations"] = [b"Tanh"] * (2 if variant.bidirectional else 1)
    assert attributes == [expected] * variant.layers
    assert "Identity" not in report.nodes
    assert report.nodes[variant.cell.upper()] == variant.layers
    assert set(report.nodes) <= {variant.cell.upper(), "Constant", "Squeeze", "Transpose", "Reshape", "Concat", "Split"}


def test_a_plain_encoder_is_three_nodes(tmp_path: Path) -> None:
    variant = Variant("lstm", 1, False, True, False, True, False)
    report = rnnx.export(variant.module(), tmp_path / "model.onnx", variant.options())
    assert report.nodes == {"Constant": 1, "LSTM": 1, "Squeeze": 1}


def test_a_module_without_bias_has_no_bias_in_the_graph(tmp_path: Path) -> None:
    variant = Variant("gru", 2, True, False, False, True, False)
    report = rnnx.export(variant.module(), tmp_path / "model.onnx", variant.options())
    assert sorted(tensor.name for tensor in graph_of(report).initializer) == ["R_l0", "R_l1", "W_l0", "W_l1"]


@pytest.mark.parametrize("bidirectional", [False, True], ids=["uni", "bi"])
def test_a_relu_is_the_activation_of_each_direction(
    tmp_path: Path, torch_outputs: TorchOutputs, bidirectional: bool
) -> None:
    torch.manual_seed(SEED)
    module = nn.RNN(3, 5, 2, nonlinearity="relu", bidirectional=bidirectional)
    contract = rnnx.export(module, tmp_path / "model.onnx").contract
    feeds = random_feeds(contract.layer(), 7, 3, SEED)
    truth, single = (torch_outputs(module, contract, feeds, dtype) for dtype in (torch.float64, torch.float32))
    with rnnx_runtime.load(tmp_path / "model.onnx") as session:
        assert_as_close_as_torch(run(session, feeds), truth, single, contract)
