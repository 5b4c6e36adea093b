import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import rnnx
import rnnx.graphs.onnx_writer
import rnnx_runtime
from rnnx import ExportOptions
from rnnx.truths.golden import read_golden
from rnnx_runtime import State
from rnnx_runtime.contract_json import json_from_contract
from rnnx_runtime.files.model_file import read_onnx
from rnnx_runtime.files.seal import SEAL_KEY

SEED = 20270
LAYERS: dict[str, Any] = {"lstm": nn.LSTM, "gru": nn.GRU}
CELLS: dict[str, Any] = {"lstm": nn.LSTMCell, "gru": nn.GRUCell}
OPTIONS = {
    "encoder": ExportOptions(lengths=True, batch_first=True),
    "step": ExportOptions(),
    "unrolled": ExportOptions(form="unrolled", steps=2),
}


def module_of(form: str, cell: str) -> nn.Module:
    torch.manual_seed(SEED)
    module: nn.Module = LAYERS[cell](3, 5, 2, bidirectional=True) if form == "encoder" else CELLS[cell](3, 5)
    return module


@pytest.mark.parametrize("opset", range(17, 24))
@pytest.mark.parametrize(
    ("form", "cell"), [pytest.param(*pair, id="-".join(pair)) for pair in product(OPTIONS, LAYERS)]
)
def test_every_opset_gives_a_model_that_runs_right(tmp_path: Path, form: str, cell: str, opset: int) -> None:
    path = tmp_path / "model.onnx"
    options = ExportOptions(**{**vars(OPTIONS[form]), "opset": opset})
    report = rnnx.export(module_of(form, cell), path, options)
    assert report.checks[0] == "onnx.checker with strict shape inference: passed"
    assert [(entry.domain, entry.version) for entry in onnx.load(path).opset_import] == [("", opset)]
    assert report.contract.versions["opset"] == str(opset)
    with rnnx_runtime.load(path) as session:
        for golden in read_golden(report.golden, report.contract):
            feeds = golden.case.feeds
            output, last = session.run(feeds["x"], State(feeds["h0"], feeds.get("c0")), feeds.get("lengths"))
            np.testing.assert_allclose(output, golden.truth["hn" if form == "step" else "output"], rtol=0, atol=1e-6)
            np.testing.assert_allclose(last.h, golden.truth["hn"], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("form", "cell"), [pytest.param(*pair, id="-".join(pair)) for pair in product(OPTIONS, LAYERS)]
)
def test_the_file_declares_the_contract_and_nothing_else(tmp_path: Path, form: str, cell: str) -> None:
    report = rnnx.export(module_of(form, cell), tmp_path / "model.onnx", OPTIONS[form])
    model = onnx.load(tmp_path / "model.onnx")
    (prop,) = model.metadata_props
    values = json.loads(prop.value)
    assert prop.key == "rnnx"
    assert len(values.pop(SEAL_KEY)) == 64
    assert values == json_from_contract(report.contract)
    assert (model.producer_name, model.graph.name) == ("rnnx", form)
    for declared, specs in ((model.graph.input, report.contract.inputs), (model.graph.output, report.contract.outputs)):
        dims = [[d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim] for value in declared]
        assert [value.name for value in declared] == [spec.name for spec in specs]
        assert dims == [list(spec.dims) for spec in specs]
    read = {name for node in model.graph.node for name in node.input}
    identities = [node for node in model.graph.node if node.op_type == "Identity"]
    assert not read & {value.name for value in model.graph.output}  # or a converter to half casts what reads it
    assert all(sum(node.input[0] in other.input for other in model.graph.node) > 1 for node in identities)
    assert len({tensor.name for tensor in model.graph.initializer}) == len(model.graph.initializer)


@pytest.mark.parametrize(
    ("form", "cell"), [pytest.param(*pair, id="-".join(pair)) for pair in product(OPTIONS, LAYERS)]
)
def test_the_same_module_gives_the_same_bytes(tmp_path: Path, form: str, cell: str) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        rnnx.export(module_of(form, cell), tmp_path / name / "model.onnx", OPTIONS[form])
    for name in ("model.onnx", "model.golden.npz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("form", OPTIONS)
def test_weights_beyond_the_limit_go_to_their_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    inside = rnnx.export(module_of(form, "lstm"), tmp_path / "inside.onnx", OPTIONS[form])
    monkeypatch.setattr(rnnx.graphs.onnx_writer, "PROTOBUF_LIMIT", 64)
    outside = rnnx.export(module_of(form, "lstm"), tmp_path / "outside.onnx", OPTIONS[form])
    data = tmp_path / "outside.onnx.data"
    weights = sum(np.prod(tensor.dims) * 4 for tensor in onnx.load(inside.path).graph.initializer)
    assert data.stat().st_size == weights
    assert outside.bytes == data.stat().st_size + outside.path.stat().st_size
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "inside.golden.npz",
        "inside.onnx",
        "outside.golden.npz",
        "outside.onnx",
        "outside.onnx.data",
    ]
    assert outside.contract == inside.contract
    assert read_onnx(outside.path).external_data == data
    x = read_golden(inside.golden, inside.contract)[2].case.feeds["x"]
    with rnnx_runtime.load(inside.path) as one, rnnx_runtime.load(outside.path) as two:
        np.testing.assert_array_equal(one.run(x)[0], two.run(x)[0])


def test_a_new_model_does_not_count_the_old_ones_external_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as limited:
        limited.setattr(rnnx.graphs.onnx_writer, "PROTOBUF_LIMIT", 64)
        rnnx.export(nn.LSTM(3, 5), tmp_path / "model.onnx")
    report = rnnx.export(nn.LSTM(3, 5), tmp_path / "model.onnx")
    assert report.bytes == report.path.stat().st_size
    with rnnx_runtime.load(report.path) as session:
        assert session.run(np.zeros((1, 1, 3), np.float32))[0].shape == (1, 1, 5)
