import dataclasses
import hashlib
import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.rnnx.adopting.foreign_files import PLAIN, write
from torch import nn

import rnnx
from rnnx import ExportOptions, ExportReport
from rnnx.errors import AdoptionError, CheckpointError
from rnnx.inspection import CheckpointInspection, ModelInspection, inspect, json_from_inspection
from rnnx_runtime import ContractError, FileDamagedError
from rnnx_runtime.contract_json import json_from_contract
from rnnx_runtime.files.sidecar import Range, Sidecar, sidecar_path, text_from_sidecar

MODEL = nn.ModuleDict(
    {
        "embedding": nn.Embedding(4, 7),
        "encoder": nn.ModuleDict({"rnn": nn.LSTM(7, 5, 2, bidirectional=True)}),
        "decoder": nn.GRUCell(7, 5, bias=False),
        "projected": nn.LSTM(7, 5, proj_size=3),
        "plain": nn.RNN(7, 5),
    }
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    return rnnx.export(nn.LSTM(7, 5, 2), path, ExportOptions(lengths=True))


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_a_checkpoint_shows_every_recurrent_module(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(MODEL.state_dict(), path)
    inspection = inspect(path)
    assert isinstance(inspection, CheckpointInspection)
    assert sorted((m.prefix, m.type_name, m.layers, m.directions) for m in inspection.modules) == [
        ("decoder", "nn.GRUCell", 1, 1),
        ("encoder.rnn", "nn.LSTM", 2, 2),
        ("plain", "nn.RNN", 1, 1),
        ("projected", "nn.LSTM", 1, 1),
    ]
    assert inspection.other_tensors == 1


def test_a_checkpoint_becomes_plain_json(tmp_path: Path) -> None:
    torch.save(MODEL.state_dict(), tmp_path / "model.pt")
    data = json.loads(json.dumps(json_from_inspection(inspect(tmp_path / "model.pt"))))
    modules = {module["prefix"]: module for module in data["modules"]}
    assert data["other_tensors"] == 1
    assert modules["projected"]["type"] == "nn.LSTM"
    assert modules["projected"]["projection_size"] == 3
    assert modules["decoder"]["bias"] is False
    assert modules["decoder"]["parameters"] == sum(p.numel() for p in MODEL["decoder"].parameters())


def test_a_checkpoint_without_a_recurrent_layer_lists_its_keys(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 3).state_dict(), tmp_path / "model.pt")
    with pytest.raises(CheckpointError) as caught:
        inspect(tmp_path / "model.pt")
    assert str(caught.value) == (
        "model.pt: got only the keys weight, bias, expected keys of a recurrent layer such as 'weight_ih_l0'; "
        "give the checkpoint that holds the nn.LSTM, nn.GRU or nn.RNN, without weight norm"
    )


def test_an_onnx_file_shows_its_contract_and_nodes(exported: ExportReport) -> None:
    inspection = inspect(exported.path)
    assert isinstance(inspection, ModelInspection)
    assert inspection.data == {"contract": json_from_contract(exported.contract), "nodes": exported.nodes}
    rows = dict(inspection.rows)
    assert rows["model"] == "LSTM encoder: input 7, hidden 5, 2 layers, 1 directions"
    assert rows["source"] == "LSTM · (root)"
    assert ("input", "lengths int32 (B,)") in inspection.rows
    assert ("output", "cn float32 (2, B, 5)") in inspection.rows
    assert "2 LSTM" in rows["nodes"]
    assert f"rnnx {exported.contract.versions['rnnx']}" in rows["exported with"]


def test_a_plan_shows_its_sidecar(tmp_path: Path, exported: ExportReport) -> None:
    plan = tmp_path / "model.plan"
    plan.write_bytes(b"plan")
    sidecar = Sidecar(
        contract=exported.contract,
        flavor="tensorrt-rtx",
        version="1.2.0",
        targets=("8.9", "12.0"),
        tf32=False,
        profiles=({"T": Range(min=1, opt=20, max=100), "B": Range(min=1, opt=8, max=64)},),
        plan_sha256=hashlib.sha256(b"plan").hexdigest(),
        onnx_sha256="cd" * 32,
    )
    sidecar_path(plan).write_text(text_from_sidecar(sidecar), encoding="utf-8")
    inspection = inspect(plan)
    rows = dict(json_rows(inspection))
    assert rows["engine"] == "tensorrt-rtx 1.2.0, TF32 off"
    assert rows["targets"] == "8.9, 12.0"
    assert rows["profile 0"] == "T=1:20:100,B=1:8:64"
    assert rows["built from"] == "ONNX with sha256 cdcdcdcdcdcd…"
    assert rows["model"] == "LSTM encoder: input 7, hidden 5, 2 layers, 1 directions"
    data = json.loads(json.dumps(json_from_inspection(inspection)))
    assert data["profiles"] == [{"T": {"min": 1, "opt": 20, "max": 100}, "B": {"min": 1, "opt": 8, "max": 64}}]
    assert data["contract"] == json_from_contract(exported.contract)
    assert set(data) == {field.name for field in dataclasses.fields(Sidecar)}


def json_rows(inspection: CheckpointInspection | ModelInspection) -> tuple[tuple[str, str], ...]:
    assert isinstance(inspection, ModelInspection)
    return inspection.rows


def test_a_damaged_model_is_refused(tmp_path: Path, exported: ExportReport) -> None:
    (tmp_path / "model.onnx").write_bytes(exported.path.read_bytes()[:-1] + b"\x00")
    with pytest.raises(FileDamagedError, match="the file was truncated or changed after export"):
        inspect(tmp_path / "model.onnx")


def test_a_plan_without_its_sidecar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.plan").write_bytes(b"plan")
    with pytest.raises(ContractError, match="got no sidecar"):
        inspect(tmp_path / "model.plan")


def test_a_host_without_the_onnx_package_sees_the_contract(
    exported: ExportReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    inspection = inspect(exported.path)
    assert isinstance(inspection, ModelInspection)
    assert inspection.data["contract"] == json_from_contract(exported.contract)
    assert dict(inspection.rows)["nodes"] == "not counted: onnx is not installed"


def test_a_broken_module_does_not_hide_a_sound_one(tmp_path: Path) -> None:
    tensors = {"own.weight_ih": torch.zeros(64, 10)} | {f"good.{k}": v for k, v in nn.GRU(3, 4).state_dict().items()}
    torch.save(tensors, tmp_path / "model.pt")
    inspection = inspect(tmp_path / "model.pt")
    assert isinstance(inspection, CheckpointInspection)
    assert [module.prefix for module in inspection.modules] == ["good"]
    assert "key 'own.weight_hh': got no such key" in inspection.broken["own"]


def test_a_file_of_another_exporter_shows_what_its_graph_says() -> None:
    path = Path(__file__).parents[1] / "fixtures" / "torch_onnx" / "lstm-bi-states.torchscript.onnx"
    inspection = inspect(path)
    rows = json_rows(inspection)
    assert ("recurrent", "/LSTM: LSTM, input 5, hidden 8, 1 layers, 2 directions, operator") in rows
    assert ("input", "h0 float32 (2, B, 8)") in rows
    assert ("state by", "h0 → hn (graph: LSTM '/LSTM')") in rows
    assert dict(rows)["contract"] == "none in the file: rnnx adopt tries this out and writes one"
    assert not {"streaming", "batching"} & dict(rows).keys()
    data = json.loads(json.dumps(json_from_inspection(inspection)))
    assert data["adopted"] is False
    assert data["contract"]["states"] == [{"input": "h0", "output": "hn"}, {"input": "c0", "output": "cn"}]
    assert data["nodes"]["LSTM"] == 1


def test_a_file_of_onnx_runtimes_own_format_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "model.ort").write_bytes(b"\x18\x00\x00\x00ORTM" + bytes(32))
    with pytest.raises(AdoptionError, match=r"got a file in ONNX Runtime's own format \(.ort\)"):
        inspect(tmp_path / "model.ort")


def test_a_file_of_another_exporter_without_recurrence_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "plain.onnx", PLAIN)
    with pytest.raises(AdoptionError, match="got no recurrence, no state and no lengths, but 1 Relu, 1 Add"):
        inspect(tmp_path / "plain.onnx")
