"""What torch.onnx's exporter gets wrong, named with the node that is at fault."""

import contextlib
from pathlib import Path

import onnx
import pytest

from rnnx.diagnosis.differential import diagnose
from rnnx.parity.parity import compare
from rnnx.runners.foreign_candidate import ForeignCandidate
from rnnx.runners.foreign_model import read_foreign_model
from rnnx.truths.case_matrix import matrix_cases
from rnnx.truths.torch_reference import torch_truth
from rnnx.weights.checkpoint import open_checkpoint
from rnnx.weights.weights import choose_module, read_weights

FIXTURES = Path(__file__).parents[2] / "fixtures" / "torch_onnx"


@pytest.mark.parametrize(
    ("model", "weights", "cause", "node"),
    [
        ("lstm-bi.dynamo", "lstm-bi", "baked-time", "Reshape 'node_Reshape_130'"),
        ("gru.dynamo", "gru", "baked-time", "Reshape 'node_Reshape_62'"),
        ("gru-reset-before.dynamo", "gru", "reset-gate-before", "GRU 'node_gru__1'"),
    ],
    ids=["lstm-bi", "gru", "gru-of-onnxscript-0.6"],
)
def test_a_wrong_export_is_named(model: str, weights: str, cause: str, node: str) -> None:
    path, checkpoint = FIXTURES / f"{model}.onnx", open_checkpoint(FIXTURES / f"{weights}.safetensors")
    own = read_weights(checkpoint, choose_module(checkpoint, None))
    proto = onnx.load(path)
    fed = {tensor.name for tensor in proto.graph.input} - {tensor.name for tensor in proto.graph.initializer}
    inputs = [tensor.name for tensor in proto.graph.input if tensor.name in fed]
    names = dict(zip(("x", "h0", "c0"), inputs, strict=False))
    names |= dict(zip(("output", "hn", "cn"), (tensor.name for tensor in proto.graph.output), strict=False))
    foreign = read_foreign_model(path, path.read_bytes(), own, checkpoint.name, names, batch_first=False)
    contract = foreign.file.contract
    truth = torch_truth(own, contract.layer(), matrix_cases(contract.layer(), "quick"))
    with contextlib.closing(ForeignCandidate("ort-cpu", foreign, 1)) as candidate:
        row = compare(candidate, truth, contract, "float32", outputs=foreign.outputs)
        found = diagnose(candidate, row, truth, contract.layer(), own, proto, outputs=foreign.outputs)
    assert (found.cause, found.node) == (cause, node)
    assert found.location is not None
    assert found.location.case == "T1 B1"
    if cause == "baked-time":
        assert "T=5 only" in found.summary
