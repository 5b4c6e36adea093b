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
from rnnx import ExportOptions
from rnnx.truths.cases import random_feeds
from rnnx_runtime import Contract, Session, State

Array = NDArray[Any]
TorchOutputs = Callable[..., dict[str, Array]]

SEED = 20266

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
"""PyTorch says so once a process, and runs another kernel."""

SIZES = ((1, 1), (2, 2), (7, 3), (13, 5))


class Variant(NamedTuple):
    layers: int
    bidirectional: bool
    bias: bool
    batch_first: bool
    state_inputs: bool
    lengths: bool

    def __str__(self) -> str:
        words = ("uni", "bi"), ("plain", "bias"), ("tbi", "bti"), ("zeros", "state"), ("full", "lengths")
        return "-".join((str(self.layers), *(pair[chosen] for pair, chosen in zip(words, self[1:], strict=True))))

    def module(self) -> nn.LSTM:
        torch.manual_seed(SEED)
        return nn.LSTM(4, 6, self.layers, self.bias, self.batch_first, bidirectional=self.bidirectional, proj_size=3)

    def options(self) -> ExportOptions:
        return ExportOptions(stateful=self.state_inputs, lengths=self.lengths)


FLAGS = (False, True)
EVERY = [Variant(*values) for values in product((1, 2), FLAGS, FLAGS, FLAGS, FLAGS, FLAGS)]


def run(session: Session, feeds: dict[str, Array]) -> dict[str, Array]:
    state = State(feeds["h0"], feeds["c0"]) if "h0" in feeds else None
    output, last = session.run(feeds["x"], state, feeds.get("lengths"))
    assert last.c is not None
    return {"output": output, "hn": last.h, "cn": last.c}


def exported(folder: Path, variant: Variant) -> Contract:
    return rnnx.export(variant.module(), folder / "model.onnx", variant.options()).contract


@pytest.mark.parametrize("variant", EVERY, ids=str)
def test_a_projected_lstm_is_as_close_to_the_truth_as_pytorch(
    tmp_path: Path, torch_outputs: TorchOutputs, variant: Variant
) -> None:
    module, contract = variant.module(), exported(tmp_path, variant)
    assert (contract.layer().formulation, contract.layer().projection_size, contract.layer().hidden_size) == (
        "scan",
        3,
        6,
    )
    with rnnx_runtime.load(tmp_path / "model.onnx") as session:
        for time, batch in SIZES:
            feeds = random_feeds(contract.layer(), time, batch, SEED)
            truth, single = (torch_outputs(module, contract, feeds, d) for d in (torch.float64, torch.float32))
            for name, value in run(session, feeds).items():
                assert value.shape == truth[name].shape
                limit = max(8 * np.abs(single[name] - truth[name]).max(), 1e-6)
                assert np.abs(value - truth[name]).max() <= limit, name


def test_output_is_zero_past_each_length_even_where_the_padding_is_not_a_number(tmp_path: Path) -> None:
    exported(tmp_path, Variant(2, True, True, False, True, True))
    x = np.random.default_rng(SEED).standard_normal((6, 3, 4), np.float32)
    x[2:, 1] = np.nan
    with rnnx_runtime.load(tmp_path / "model.onnx") as session:
        output, last = session.run(x, lengths=np.array([6, 2, 4]))
    assert last.c is not None
    assert np.isfinite(output).all()
    assert np.isfinite(last.h).all()
    assert np.isfinite(last.c).all()
    assert not output[2:, 1].any()
    assert not output[4:, 2].any()
    assert output[:2, 1].all()


def test_a_stream_of_steps_equals_the_whole_sequence(tmp_path: Path) -> None:
    exported(tmp_path, Variant(2, False, True, False, True, False))
    x = np.random.default_rng(SEED).standard_normal((6, 2, 4), np.float32)
    state: State | None = None
    with rnnx_runtime.load(tmp_path / "model.onnx") as session:
        output, last = session.run(x)
        for now, expected in zip(x, output, strict=True):
            y, state = session.step(now, state)
            np.testing.assert_allclose(y, expected, rtol=0, atol=1e-6)
    assert state is not None
    assert state.c is not None
    assert last.c is not None
    np.testing.assert_allclose(state.c, last.c, rtol=0, atol=1e-6)


def test_the_graph_is_one_scan_a_layer_and_direction(tmp_path: Path) -> None:
    exported(tmp_path, Variant(2, True, True, False, True, False))
    graph = onnx.load(tmp_path / "model.onnx").graph
    scans = [node for node in graph.node if node.op_type == "Scan"]
    ways = [[list(own.ints) for own in node.attribute if own.name.endswith("directions")] for node in scans]
    assert ways == [[[0], [0]], [[1], [1]]] * 2


def test_the_input_projection_is_one_product_before_the_loop(tmp_path: Path) -> None:
    exported(tmp_path, Variant(1, False, True, False, True, False))
    graph = onnx.load(tmp_path / "model.onnx").graph
    (body,) = (own.g for node in graph.node for own in node.attribute if own.name == "body")
    products = [node.input[1] for node in body.node if node.op_type == "MatMul"]
    assert products == ["W_hh_l0", "W_hr_l0"]
    assert [node.input[1] for node in graph.node if node.op_type == "MatMul"] == ["W_ih_l0"]


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    variant = Variant(2, True, True, True, True, True)
    files = []
    for name in ("one.onnx", "other.onnx"):
        rnnx.export(variant.module(), tmp_path / name, variant.options())
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]


def test_constants_are_tensors_which_every_tool_reads(tmp_path: Path) -> None:
    exported(tmp_path, Variant(1, False, True, False, True, True))
    graph = onnx.load(tmp_path / "model.onnx").graph
    bodies = [own.g for node in graph.node for own in node.attribute if own.name == "body"]
    constants = [node for part in (graph, *bodies) for node in part.node if node.op_type == "Constant"]
    assert {own.name for node in constants for own in node.attribute} == {"value"}
