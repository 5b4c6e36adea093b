"""The parsed network of every form that rnnx exports computes what the reference does, at sizes of both parities."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from tests.contracts import changed
from tests.rnnx.tensorrt_network.conftest import Array
from torch import nn

import rnnx
from rnnx.tensorrt_network.candidate import NetworkCandidate
from rnnx.truths.cases import Case, case_at, cases
from rnnx.truths.reference import evaluate
from rnnx.weights.checkpoint import open_checkpoint
from rnnx.weights.weights import RecurrentWeights, choose_module, read_weights
from rnnx_runtime.errors import BackendError
from rnnx_runtime.files.model_file import OnnxFile, read_onnx

pytestmark = pytest.mark.tensorrt
pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")

FORMS: dict[str, tuple[Callable[[], nn.Module], dict[str, Any]]] = {
    "lstm": (lambda: nn.LSTM(5, 8), {}),
    "lstm-plain": (lambda: nn.LSTM(5, 8, bias=False), {}),
    "lstm-bi": (lambda: nn.LSTM(5, 8, bidirectional=True), {}),
    "lstm-2-bi-lengths": (lambda: nn.LSTM(5, 8, 2, bidirectional=True), {"lengths": True}),
    "lstm-2-batch-first": (lambda: nn.LSTM(5, 8, 2), {"batch_first": True}),
    "lstm-batch-first-lengths": (lambda: nn.LSTM(5, 8), {"batch_first": True, "lengths": True}),
    "lstm-zeros": (lambda: nn.LSTM(5, 8), {"stateful": False}),
    "gru": (lambda: nn.GRU(5, 8), {}),
    "gru-3-bi": (lambda: nn.GRU(5, 8, 3, bidirectional=True), {}),
    "gru-bi-lengths": (lambda: nn.GRU(5, 8, bidirectional=True), {"lengths": True}),
    "gru-2-batch-first-lengths": (lambda: nn.GRU(5, 8, 2), {"batch_first": True, "lengths": True}),
    "gru-zeros-lengths": (lambda: nn.GRU(5, 8, bias=False), {"stateful": False, "lengths": True}),
    "lstm-step": (lambda: nn.LSTMCell(5, 8), {}),
    "lstm-step-plain": (lambda: nn.LSTMCell(5, 8, bias=False), {}),
    "gru-step": (lambda: nn.GRUCell(5, 8), {}),
    "lstm-unrolled-4": (lambda: nn.LSTMCell(5, 8), {"form": "unrolled", "steps": 4}),
    "lstm-unrolled-1": (lambda: nn.LSTMCell(5, 8), {"form": "unrolled", "steps": 1}),
    "gru-unrolled-3": (lambda: nn.GRUCell(5, 8), {"form": "unrolled", "steps": 3}),
}

TOLERANCE = 1e-5


def _exported(folder: Path, form: str) -> tuple[OnnxFile, RecurrentWeights]:
    make, options = FORMS[form]
    torch.manual_seed(8)
    module = make()
    rnnx.export(module, folder / "model.onnx", rnnx.ExportOptions(**options))
    torch.save(module.state_dict(), folder / "weights.pt")
    checkpoint = open_checkpoint(folder / "weights.pt")
    return read_onnx(folder / "model.onnx"), read_weights(checkpoint, choose_module(checkpoint, None))


def _assert_close(got: dict[str, Array], expected: dict[str, Array]) -> None:
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        assert (got[name].dtype.name, got[name].shape) == ("float32", value.shape)
        np.testing.assert_allclose(got[name], value, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_computes_what_the_reference_does(form: str, tmp_path: Path) -> None:
    model, weights = _exported(tmp_path, form)
    candidate = NetworkCandidate(model, model.contract)
    for case in cases(model.contract.layer()):
        _assert_close(candidate.outputs(case), evaluate(weights, model.contract.layer(), case.feeds))


def test_the_row_says_that_no_kernel_ran(tmp_path: Path) -> None:
    model, _ = _exported(tmp_path, "gru")
    candidate = NetworkCandidate(model, model.contract)
    assert candidate.name == "tensorrt-network"
    assert candidate.device.startswith("parsed by tensorrt-rtx 1.")
    assert candidate.device.endswith(", NumPy")
    assert candidate.warnings == ()


def test_a_second_candidate_is_not_disturbed_by_the_first(tmp_path: Path) -> None:
    model, weights = _exported(tmp_path, "lstm")
    first, second = (NetworkCandidate(model, model.contract) for _ in range(2))
    case = case_at(model.contract.layer(), 3, 2)
    expected = evaluate(weights, model.contract.layer(), case.feeds)
    _assert_close(first.outputs(case), expected)
    _assert_close(second.outputs(case), expected)
    assert second.warnings == ()


def test_weights_in_their_own_file_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rnnx.graphs.onnx_writer.PROTOBUF_LIMIT", 100)
    model, weights = _exported(tmp_path, "lstm")
    assert model.external_data is not None
    case = case_at(model.contract.layer(), 3, 2)
    expected = evaluate(weights, model.contract.layer(), case.feeds)
    _assert_close(NetworkCandidate(model, model.contract).outputs(case), expected)


def test_a_prepared_call_runs_the_same_case(tmp_path: Path) -> None:
    model, weights = _exported(tmp_path, "gru-bi-lengths")
    candidate, case = NetworkCandidate(model, model.contract), case_at(model.contract.layer(), 4, 3)
    result = candidate.prepare(case.feeds)()
    assert isinstance(result, dict)
    _assert_close(result, evaluate(weights, model.contract.layer(), case.feeds))


def test_inputs_are_cast_to_the_networks_own_type(tmp_path: Path) -> None:
    model, weights = _exported(tmp_path, "gru-bi-lengths")
    case = case_at(model.contract.layer(), 4, 3)
    wide = {name: value.astype(np.int64 if name == "lengths" else np.float64) for name, value in case.feeds.items()}
    got = NetworkCandidate(model, model.contract).outputs(Case(name="wide", feeds=wide))
    _assert_close(got, evaluate(weights, model.contract.layer(), case.feeds))


def _renamed(model: OnnxFile) -> tuple[bytes, dict[str, str]]:
    """The graph with every input and output under another name, and without `cn`; which name is whose."""
    graph = onnx.load_model_from_string(model.data)
    names = {"x": "input", "h0": "in_h", "c0": "in_c", "output": "out", "hn": "out_h"}
    del graph.graph.output[2]
    for value in (*graph.graph.input, *graph.graph.output):
        value.name = names[value.name]
    for node in graph.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    return graph.SerializeToString(), names


def test_a_graph_with_names_of_its_own_gives_the_outputs_that_were_named(tmp_path: Path) -> None:
    model, weights = _exported(tmp_path, "lstm")
    data, names = _renamed(model)
    foreign = OnnxFile(path=model.path, contract=model.contract, data=data, external_data=None)
    case = case_at(model.contract.layer(), 3, 2)
    expected = evaluate(weights, model.contract.layer(), case.feeds)
    del expected["cn"]
    _assert_close(NetworkCandidate(foreign, model.contract, names).outputs(case), expected)


def test_an_input_that_no_name_is_given_for_is_not_fed(tmp_path: Path) -> None:
    model, weights = _exported(tmp_path, "lstm-zeros")
    contract = changed(model.contract, state_inputs=True)
    case = case_at(contract.layer(), 3, 2)
    names = {name: name for name in ("x", "output", "hn", "cn")}
    expected = evaluate(weights, model.contract.layer(), {"x": case.feeds["x"]})
    _assert_close(NetworkCandidate(model, contract, names).outputs(case), expected)
    with pytest.raises(BackendError, match=r"the parsed network: got no 'h0', expected x; name one of these"):
        NetworkCandidate(model, contract)


def test_a_name_that_the_graph_has_not_is_refused_with_those_it_has(tmp_path: Path) -> None:
    model, _ = _exported(tmp_path, "gru")
    with pytest.raises(BackendError, match=r"got no 'hidden', expected output \| hn; name one of these"):
        NetworkCandidate(model, model.contract, {"x": "x", "h0": "h0", "hn": "hidden"})


def test_a_case_of_another_width_is_refused(tmp_path: Path) -> None:
    model, _ = _exported(tmp_path, "gru")
    feeds = {"x": np.zeros((3, 2, 6), np.float32), "h0": np.zeros((1, 2, 8), np.float32)}
    with pytest.raises(
        BackendError, match=r"input 'x' of the parsed network: got \(3, 2, 6\), expected FLOAT \(\?, \?, 5\)"
    ):
        NetworkCandidate(model, model.contract).outputs(Case(name="wide", feeds=feeds))


def test_a_closed_row_is_closed(tmp_path: Path) -> None:
    model, _ = _exported(tmp_path, "gru")
    candidate = NetworkCandidate(model, model.contract)
    candidate.close()
    with pytest.raises(BackendError, match=r"row tensorrt-network: got a call after close\(\)"):
        candidate.outputs(case_at(model.contract.layer(), 3, 2))
