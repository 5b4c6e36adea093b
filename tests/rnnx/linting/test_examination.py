import contextlib
import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, external_data_helper, helper, parser
from torch import nn

import rnnx
from rnnx.errors import MissingExtraError, OptionError
from rnnx.linting.examination import concerning, doctor, examine
from rnnx.linting.findings import Finding
from rnnx_runtime.errors import FileDamagedError

FIXTURES = Path(__file__).parents[2] / "fixtures" / "torch_onnx"

STREAM = "info states-unreachable"
"""What every export says whose states are no inputs."""

TORCH_ONNX: dict[str, list[str]] = {
    "lstm-bi.dynamo": ["error baked-time Reshape 'node_Reshape_130'", f"{STREAM} LSTM 'node_lstm__2'"],
    "lstm-bi.torchscript": [f"{STREAM} LSTM '/LSTM'"],
    "gru.dynamo": ["error baked-time Reshape 'node_Reshape_62'", f"{STREAM} GRU 'node_gru__1'"],
    "gru.torchscript": [f"{STREAM} GRU '/GRU'"],
    "gru-bi.dynamo": ["error baked-time Reshape 'node_Reshape_96'", f"{STREAM} GRU 'node_gru__1'"],
    "gru-bi.torchscript": [f"{STREAM} GRU '/GRU'"],
    "lstm-batch-first.dynamo": ["warning baked-time output 'output'", f"{STREAM} LSTM 'node_lstm__2'"],
    "lstm-batch-first.torchscript": ["warning dims-swapped input 'input'", f"{STREAM} LSTM '/LSTM'"],
    "lstm-bi-states.torchscript": [],
    "lstm-bi-static.dynamo": [
        "warning baked-time input 'input' (and 1 more)",
        "warning baked-batch input 'input' (and 2 more)",
        f"{STREAM} LSTM 'node_lstm__2'",
    ],
    "gru-reset-before.dynamo": [
        "error gru-reset-before GRU 'node_gru__1'",
        "warning baked-time output 'output'",
        f"{STREAM} GRU 'node_gru__1'",
    ],
    "lstm-bi-int8-full.quantized": [
        "error tensorrt-refused DynamicQuantizeLSTM '/LSTM_quant'",
        "warning int8-saturation DynamicQuantizeLSTM '/LSTM_quant'",
        f"{STREAM} DynamicQuantizeLSTM '/LSTM_quant'",
    ],
    "lstm-bi-int8-reduced.quantized": [
        "error tensorrt-refused DynamicQuantizeLSTM '/LSTM_quant'",
        f"{STREAM} DynamicQuantizeLSTM '/LSTM_quant'",
    ],
}


def told(findings: tuple[Finding, ...]) -> list[str]:
    return [f"{finding.severity} {finding.rule} {finding.node}" for finding in findings]


# What other exporters write


@pytest.mark.parametrize("name", TORCH_ONNX)
def test_an_export_of_torch_onnx_has_exactly_these_findings(name: str) -> None:
    report = doctor(FIXTURES / f"{name}.onnx")
    assert told(report.findings) == TORCH_ONNX[name]
    assert bool(report) == (not any(line.startswith("error") for line in TORCH_ONNX[name]))


def test_every_fixture_is_tried() -> None:
    assert {path.stem for path in FIXTURES.glob("*.onnx")} == set(TORCH_ONNX)


@pytest.mark.parametrize("name", ["lstm-bi", "gru"])
def test_the_frozen_time_is_named_with_its_node_and_value(name: str) -> None:
    first = doctor(FIXTURES / f"{name}.dynamo.onnx").findings[0]
    assert (first.rule, first.node.startswith("Reshape 'node_Reshape_")) == ("baked-time", True)
    assert f"[5, -1, {16 if name == 'lstm-bi' else 8}] holds the time length 5" in first.message


def test_the_report_says_what_the_file_is() -> None:
    report = doctor(FIXTURES / "gru.torchscript.onnx")
    assert (report.producer, report.opset, report.recurrences) == ("pytorch 2.13.0", 20, {"GRU": 1})
    assert report.path.endswith("gru.torchscript.onnx")


# What rnnx writes


FORMS: dict[str, tuple[Callable[[], nn.Module], dict[str, Any], dict[str, int]]] = {
    "lstm": (lambda: nn.LSTM(5, 8), {}, {"LSTM": 1}),
    "lstm-2-bi-lengths": (lambda: nn.LSTM(5, 8, 2, bidirectional=True), {"lengths": True}, {"LSTM": 2}),
    "lstm-bi-batch-first": (lambda: nn.LSTM(5, 8, 2, bidirectional=True), {"batch_first": True}, {"LSTM": 2}),
    "gru-3-opset-23": (lambda: nn.GRU(5, 8, 3, bias=False), {"opset": 23}, {"GRU": 3}),
    "lstm-step": (lambda: nn.LSTMCell(5, 8), {}, {"LSTM cell": 1}),
    "gru-step": (lambda: nn.GRUCell(5, 8), {}, {"GRU cell": 1}),
    "lstm-unrolled": (lambda: nn.LSTMCell(5, 8), {"form": "unrolled", "steps": 4}, {"LSTM cell": 4}),
    "gru-unrolled": (lambda: nn.GRUCell(5, 8), {"form": "unrolled", "steps": 4}, {"GRU cell": 4}),
}


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_found_in_what_rnnx_exports(tmp_path: Path, form: str) -> None:
    module, options, recurrences = FORMS[form]
    rnnx.export(module(), tmp_path / "model.onnx", rnnx.ExportOptions(**options))
    report = doctor(tmp_path / "model.onnx")
    known = [own.rule for own in report.findings if own.backends != ("openvino",)]
    assert (known, dict(report.recurrences)) == ([], recurrences)


def test_zeros_for_states_are_told_as_what_they_are(tmp_path: Path) -> None:
    rnnx.export(nn.GRU(5, 8), tmp_path / "model.onnx", rnnx.ExportOptions(stateful=False))
    (finding,) = doctor(tmp_path / "model.onnx").findings
    assert (finding.rule, finding.severity) == ("states-unreachable", "info")


# What correct models of others hold


class Tagger(nn.Module):
    """Embedding, recurrent layers, norm and head, as taggers are built."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 5)
        self.rnn = nn.LSTM(5, 8, 2, bidirectional=True, batch_first=True, dropout=0.3)
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 4)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.rnn(self.embedding(ids))[0])).log_softmax(-1)  # type: ignore[no-any-return]


class Classifier(nn.Module):
    """The last output and the last state together."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(5, 8, batch_first=True), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output, hn = self.rnn(x)
        return self.head(output[:, -1] + hn[-1])  # type: ignore[no-any-return]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("module", "example"),
    [(Tagger, torch.ones(3, 7, dtype=torch.long)), (Classifier, torch.ones(3, 7, 5))],
    ids=["tagger", "classifier"],
)
def test_a_correct_model_has_neither_errors_nor_warnings(
    tmp_path: Path, module: type[nn.Module], example: torch.Tensor
) -> None:
    axes = {"x": {0: "B", 1: "T"}}
    path = tmp_path / "m.onnx"
    torch.onnx.export(module().eval(), (example,), path, dynamo=False, input_names=["x"], dynamic_axes=axes)
    assert {finding.severity for finding in doctor(path).findings} == {"info"}


# Reading files


def test_external_data_is_not_read(tmp_path: Path) -> None:
    model = onnx.load(FIXTURES / "lstm-bi.torchscript.onnx")
    external_data_helper.convert_model_to_external_data(model, location="weights.bin", size_threshold=0)
    onnx.save(model, tmp_path / "model.onnx")
    (tmp_path / "weights.bin").unlink()
    missing = "error not-loadable the model"
    assert told(doctor(tmp_path / "model.onnx").findings) == [missing, *TORCH_ONNX["lstm-bi.torchscript"]]


def test_a_model_without_a_recurrence_is_refused(tmp_path: Path) -> None:
    model = parser.parse_model(
        '<ir_version: 9, opset_import: ["": 17]> g (float[N] x) => (float[N] y) { y = Relu (x) }'
    )
    onnx.save(model, tmp_path / "relu.onnx")
    with pytest.raises(OptionError, match=r"relu.onnx: got no LSTM, GRU, RNN, Scan or Loop .*; name the file"):
        doctor(tmp_path / "relu.onnx")


WHOLE = (FIXTURES / "lstm-bi.torchscript.onnx").read_bytes()


@pytest.mark.parametrize(
    ("content", "got"),
    [
        pytest.param(b"", "no graph in it", id="empty"),
        pytest.param(b"<html>not found</html>", "bytes that are no protobuf", id="foreign"),
        pytest.param(bytes(range(256)) * 16, "bytes that are no protobuf", id="garbage"),
        *(
            pytest.param(WHOLE[: len(WHOLE) * part // 100], "bytes that are no protobuf", id=f"{part}-percent")
            for part in (5, 50, 95)
        ),
        pytest.param(
            helper.make_model(helper.make_graph([], "g", [], [])).SerializeToString(), "no graph", id="no-nodes"
        ),
    ],
)
def test_a_file_that_is_no_model_is_one_clear_error(tmp_path: Path, content: bytes, got: str) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(FileDamagedError, match=rf"model.onnx: got {got}.*, expected a whole (\.onnx|ONNX) file; "):
        doctor(tmp_path / "model.onnx")


@pytest.mark.parametrize("make_folder", [False, True], ids=["missing", "folder"])
def test_what_cannot_be_opened_is_one_clear_error(tmp_path: Path, make_folder: bool) -> None:
    if make_folder:
        (tmp_path / "model.onnx").mkdir()
    with pytest.raises(FileDamagedError, match=r"expected a readable file; check the path"):
        doctor(tmp_path / "model.onnx")


def test_a_node_that_lacks_an_input_is_named(tmp_path: Path) -> None:
    model = onnx.load(FIXTURES / "gru.torchscript.onnx")
    node = next(node for node in model.graph.node if node.op_type == "GRU")
    del node.input[1:]
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(FileDamagedError, match=r"got GRU '/GRU' without input W, expected a model as ONNX defines it"):
        doctor(tmp_path / "model.onnx")


def test_a_file_without_its_opset_is_damaged(tmp_path: Path) -> None:
    model = onnx.load(FIXTURES / "gru.torchscript.onnx")
    del model.opset_import[:]
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(FileDamagedError, match="got no opset in it"):
        doctor(tmp_path / "model.onnx")


@pytest.mark.usefixtures("no_process")
@pytest.mark.parametrize("seed", range(4))
def test_changed_bytes_give_a_report_or_one_clear_error(tmp_path: Path, seed: int) -> None:
    generator = np.random.default_rng(seed)
    models = [path.read_bytes() for path in sorted(FIXTURES.glob("*.onnx"))]
    for _ in range(100):
        content = bytearray(models[generator.integers(len(models))])
        for place in generator.integers(len(content), size=generator.integers(1, 4)):
            content[place] = generator.integers(256)
        (tmp_path / "model.onnx").write_bytes(content)
        with contextlib.suppress(FileDamagedError, OptionError):
            assert doctor(tmp_path / "model.onnx").recurrences


def test_a_host_without_onnx_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"reading an ONNX file: got no package onnx.*pip install"):
        doctor(FIXTURES / "gru.torchscript.onnx")


def test_neither_torch_nor_an_engine_is_loaded() -> None:
    program = f"""
import sys
import rnnx
report = rnnx.doctor({str(FIXTURES / "lstm-bi.dynamo.onnx")!r})
print(len(report.findings), {{"torch", "onnxruntime", "tensorrt", "tensorrt_rtx", "spox"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "2 set()\n"


# As values


def test_errors_come_first_and_each_finding_once() -> None:
    findings = doctor(FIXTURES / "gru-reset-before.dynamo.onnx").findings
    assert [finding.severity for finding in findings] == ["error", "warning", "info"]
    assert len(set(findings)) == len(findings)


def test_examining_changes_nothing() -> None:
    model = onnx.load(FIXTURES / "lstm-bi-static.dynamo.onnx")
    before = model.SerializeToString(deterministic=True)
    assert examine(model) == examine(model)
    assert model.SerializeToString(deterministic=True) == before


def test_findings_are_chosen_by_backend() -> None:
    finding = Finding(rule="r", severity="info", node="n", message="m", fix="f")
    own = dataclasses.replace(finding, backends=("tensorrt", "ort-cpu"))
    other = dataclasses.replace(finding, backends=("ort-cpu",))
    assert concerning((finding, own, other), "tensorrt", "tensorrt-rtx") == (finding, own)


@pytest.mark.parametrize("operator", ["LSTM", "GRU", "RNN"])
def test_no_rule_stumbles_over_a_bare_node(operator: str) -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy")
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[operator]
    weights = [helper.make_tensor(name, TensorProto.FLOAT, [1, gates, 1], np.ones(gates)) for name in "WR"]
    graph = helper.make_graph([helper.make_node(operator, ["x", "W", "R"], ["y"])], "g", [x], [y], weights)
    assert all(finding.severity != "error" for finding in examine(helper.make_model(graph)))


def test_a_shape_in_external_data_is_read(tmp_path: Path) -> None:
    model = onnx.load(FIXTURES / "lstm-bi.dynamo.onnx")
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, size_threshold=0, location="model.data")
    assert "baked-time" in [finding.rule for finding in doctor(tmp_path / "model.onnx").findings]


def test_external_data_that_is_absent_leaves_the_rest_to_examine(tmp_path: Path) -> None:
    model = onnx.load(FIXTURES / "gru-reset-before.dynamo.onnx")
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, size_threshold=0, location="model.data")
    (tmp_path / "model.data").unlink()
    assert "gru-reset-before" in [finding.rule for finding in doctor(tmp_path / "model.onnx").findings]


def test_a_plain_rnns_step_is_told_by_its_contract(tmp_path: Path) -> None:
    rnnx.export(nn.RNNCell(2, 3), tmp_path / "model.onnx", rnnx.ExportOptions(form="step"))
    assert doctor(tmp_path / "model.onnx").recurrences == {"RNN cell": 1}
    model = onnx.load(tmp_path / "model.onnx")
    model.metadata_props[0].value = "no JSON"
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(OptionError, match="no written-out cell"):
        doctor(tmp_path / "other.onnx")


def test_a_model_with_states_and_no_layer_is_examined(tmp_path: Path) -> None:
    class Smoothed(nn.Module):
        def forward(self, x: torch.Tensor, mean: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            mean = 0.9 * mean + 0.1 * x
            return x - mean, mean

    example = (torch.randn(2, 3), torch.randn(2, 3))
    options = rnnx.ModelOptions(states={"mean": "output_1"})
    report = rnnx.export(Smoothed().eval(), tmp_path / "model.onnx", options, example_inputs=example)
    assert report.contract.states
    found = doctor(report.path)
    assert (found.recurrences, bool(found)) == ({}, True)
