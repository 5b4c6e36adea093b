import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper
from tests.rnnx_runtime.faults.forging import blank_seal, forged, with_contract
from torch import nn

import rnnx
import rnnx.graphs.onnx_writer
from rnnx_runtime import Contract, ContractError, FileDamagedError
from rnnx_runtime.files.model_file import OnnxFile, PlanFile, read_model, read_onnx, read_plan
from rnnx_runtime.files.seal import SEAL_KEY, sealed
from rnnx_runtime.files.sidecar import Range, Sidecar, sidecar_path, text_from_sidecar

SEED = 20260


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    torch.manual_seed(SEED)
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    rnnx.export(nn.LSTM(3, 5), path)
    return path.read_bytes()


@pytest.fixture
def with_external_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    torch.manual_seed(SEED)
    monkeypatch.setattr(rnnx.graphs.onnx_writer, "PROTOBUF_LIMIT", 64)
    rnnx.export(nn.LSTM(3, 5), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_a_whole_model_gives_its_contract(tmp_path: Path, exported: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(exported)
    model = read_model(path)
    assert isinstance(model, OnnxFile)
    assert (model.path, model.data, model.external_data) == (path, exported, None)
    assert (model.contract.layer().cell, model.contract.input_size, model.contract.layer().hidden_size) == (
        "lstm",
        3,
        5,
    )


@pytest.mark.parametrize("region", ["start", "graph", "weights", "middle", "contract", "mark", "digest", "end"])
def test_a_flipped_bit_is_refused(tmp_path: Path, exported: bytes, region: str) -> None:
    mark = exported.rindex(SEAL_KEY.encode())
    places = {
        "start": 0,
        "graph": 100,
        "weights": len(exported) // 4,
        "middle": len(exported) // 2,
        "contract": exported.rindex(b'"hidden_size"') + 15,
        "mark": mark,
        "digest": mark + len(SEAL_KEY) + 10,
        "end": len(exported) - 1,
    }
    damaged = bytearray(exported)
    damaged[places[region]] ^= 1
    path = tmp_path / "model.onnx"
    path.write_bytes(damaged)
    with pytest.raises(ContractError if region == "mark" else FileDamagedError) as caught:
        read_onnx(path)
    assert str(path) in str(caught.value)


@settings(deadline=None, database=None, derandomize=True, max_examples=150)
@given(data=st.data())
def test_no_damage_goes_unnoticed(
    tmp_path_factory: pytest.TempPathFactory, exported: bytes, data: st.DataObject
) -> None:
    damaged = bytearray(exported)
    place = data.draw(st.integers(0, len(exported) - 1))
    if data.draw(st.booleans()):
        damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del damaged[place:]
    path = tmp_path_factory.getbasetemp() / "damaged.onnx"
    path.write_bytes(damaged)
    with pytest.raises((FileDamagedError, ContractError)):
        read_onnx(path)


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_model_is_refused(tmp_path: Path, exported: bytes, part: float) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(exported[: int(part * len(exported))])
    with pytest.raises((ContractError, FileDamagedError), match="truncated"):
        read_onnx(path)


def test_an_edited_contract_is_refused(tmp_path: Path, exported: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(exported.replace(b'"batch_first": false', b'"batch_first":  true'))
    with pytest.raises(FileDamagedError, match=r"got content with sha256 .*, expected the sealed .*; the file was"):
        read_onnx(path)


def test_a_model_of_another_exporter_is_refused(tmp_path: Path) -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "other", [x], [y])
    path = tmp_path / "other.onnx"
    onnx.save(helper.make_model(graph), path)
    with pytest.raises(ContractError) as caught:
        read_onnx(path)
    assert str(caught.value) == (
        f"{path}: got no rnnx contract in it, expected a model that rnnx export wrote, whole; "
        "export it with rnnx export; a truncated copy also looks like this"
    )


@pytest.mark.parametrize(
    ("text", "got"),
    [
        pytest.param("{%s}7", "Extra data", id="more-than-json"),
        pytest.param('{"schema": 1, %s', "Expecting ',' delimiter", id="no-json"),
        pytest.param("[{%s}]", "a contract without the file's seal", id="no-object"),
        pytest.param('{"source": {%s}}', "a contract without the file's seal", id="seal-elsewhere"),
        pytest.param('{"schema": 3, %s}', "decoder", id="schema-alone"),
        pytest.param('{"schema": 2, %s}', "schema 2", id="another-schema"),
        pytest.param('{"schema": 1, "schema": 1, %s}', "a key given twice", id="key-twice"),
        pytest.param('{"schema": 1, "layers": NaN, %s}', "NaN", id="nan"),
        pytest.param('{"schema": 1, "layers": ' + "[" * 1000 + "]" * 1000 + ", %s}", "nested deeper", id="deep"),
        pytest.param('{"schema": 1, "layers": "' + "x" * 2**20 + '", %s}', "metadata of 10486", id="large"),
    ],
)
def test_a_good_seal_on_a_bad_contract_is_refused(tmp_path: Path, text: str, got: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(with_contract(ModelProto(ir_version=8), text.replace("%s", blank_seal())))
    with pytest.raises(ContractError, match=r"model\.onnx: got ") as caught:
        read_onnx(path)
    assert got in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(path))


def test_a_good_seal_on_what_is_no_protobuf_is_refused(tmp_path: Path, exported: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(sealed(b"ORTM" + exported))
    with pytest.raises(ContractError, match=r"model\.onnx: got a contract that cannot be read \(wire type 7"):
        read_onnx(path)


def test_two_contracts_are_refused(tmp_path: Path, exported: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(forged(exported, lambda model: model.metadata_props.extend(list(model.metadata_props))))
    with pytest.raises(ContractError, match="metadata with 2 values for 'rnnx'"):
        read_onnx(path)


@pytest.mark.parametrize(
    ("name", "make", "got", "remedy"),
    [
        pytest.param("gone.onnx", lambda path: None, "No such file", "check the path", id="missing-onnx"),
        pytest.param("gone.plan", lambda path: None, "No such file", "check the path", id="missing-plan"),
        pytest.param("folder.onnx", Path.mkdir, "Is a directory", "check the path", id="folder"),
        pytest.param("model.pt", Path.touch, "suffix '.pt'", "name the model's file", id="suffix"),
        pytest.param("a.seq2seq.json", Path.touch, "the manifest", "open it with .*load_seq2seq", id="manifest"),
        pytest.param("model", Path.touch, "suffix ''", "name the model's file", id="no-suffix"),
    ],
)
def test_what_is_no_model_file_is_refused(
    tmp_path: Path, name: str, make: Callable[[Path], None], got: str, remedy: str
) -> None:
    make(tmp_path / name)
    with pytest.raises(FileDamagedError, match=rf"{name}: got {got}.*, expected .*; {remedy}"):
        read_model(tmp_path / name)


def test_a_link_to_a_model_is_followed(tmp_path: Path, exported: bytes) -> None:
    (tmp_path / "v1.onnx").write_bytes(exported)
    (tmp_path / "model.onnx").symlink_to("v1.onnx")
    assert read_onnx(tmp_path / "model.onnx").data == exported


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
@pytest.mark.parametrize("suffix", ["onnx", "plan"])
def test_a_fifo_is_not_waited_for(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model.{suffix}"
    os.mkfifo(path)
    with pytest.raises(FileDamagedError, match=rf"model\.{suffix}: got a FIFO, no regular file, expected a readable"):
        read_model(path)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")
@pytest.mark.parametrize("suffix", ["onnx", "plan"])
def test_a_device_without_an_end_is_not_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model.{suffix}"
    path.symlink_to("/dev/zero")
    with pytest.raises(FileDamagedError, match=rf"model\.{suffix}: got a device, no regular file"):
        read_model(path)


@pytest.mark.parametrize("suffix", ["onnx", "plan"])
def test_a_file_larger_than_any_model_is_not_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model.{suffix}"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(FileDamagedError, match=rf"model\.{suffix}: got 1099511627776 bytes, more than the "):
        read_model(path)


def test_external_data_is_found_beside_the_model(with_external_data: Path) -> None:
    assert read_onnx(with_external_data).external_data == with_external_data.with_name("model.onnx.data")


def test_external_data_left_behind_is_refused(with_external_data: Path) -> None:
    moved = with_external_data.with_name("elsewhere")
    moved.mkdir()
    with_external_data.replace(moved / "model.onnx")
    with pytest.raises(FileDamagedError) as caught:
        read_onnx(moved / "model.onnx")
    assert str(caught.value) == (
        f"{moved / 'model.onnx.data'}: got No such file or directory, expected the model's weights; copy both files"
    )


@pytest.mark.parametrize("place", [0, 100, -1])
def test_changed_external_data_is_refused(with_external_data: Path, place: int) -> None:
    path = with_external_data.with_name("model.onnx.data")
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(FileDamagedError) as caught:
        read_onnx(with_external_data)
    assert str(caught.value) == (
        f"{path}: got other bytes than were exported, expected the model's weights; copy both files anew"
    )


def test_external_data_of_another_size_is_refused_unread(with_external_data: Path) -> None:
    path = with_external_data.with_name("model.onnx.data")
    with path.open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(FileDamagedError, match="got other bytes than were exported"):
        read_onnx(with_external_data)


def test_external_data_behind_a_link_is_refused(with_external_data: Path) -> None:
    path = with_external_data.with_name("model.onnx.data")
    path.replace(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")
    with pytest.raises(ContractError, match="expected a plain file beside the model"):
        read_onnx(with_external_data)


def test_external_data_lies_beside_the_model_that_a_link_leads_to(with_external_data: Path) -> None:
    folder = with_external_data.with_name("links")
    folder.mkdir()
    (folder / "model.onnx").symlink_to("../model.onnx")
    model = read_onnx(folder / "model.onnx")
    assert model.path == with_external_data.resolve()
    assert model.external_data == model.path.with_name("model.onnx.data")


@pytest.mark.parametrize(
    "entry",
    [
        "model.onnx.data",
        7,
        {},
        {"file": None},
        *[
            {"file": name}
            for name in ("", ".", "..", "../secret", "/etc/passwd", "sub/weights", "a\0b", "\ud800", "x" * 300)
        ],
    ],
    ids=repr,
)
def test_external_data_elsewhere_is_refused(with_external_data: Path, entry: object) -> None:
    data = with_external_data.read_bytes()
    with_external_data.write_bytes(forged(data, contract=lambda values: values.update(external_data=entry)))
    with pytest.raises(ContractError, match=r"model\.onnx: got external data at "):
        read_onnx(with_external_data)


def write_plan(path: Path, contract: Contract, **changes: Any) -> None:
    values: dict[str, Any] = {
        "contract": contract,
        "flavor": "tensorrt",
        "version": "10.13.0",
        "targets": ("8.9",),
        "tf32": False,
        "profiles": ({"B": Range(min=1, opt=1, max=1), "T": Range(min=1, opt=1, max=1)},),
        "plan_sha256": hashlib.sha256(b"plan").hexdigest(),
        "onnx_sha256": "cd" * 32,
    }
    path.write_bytes(b"plan")
    sidecar_path(path).write_text(text_from_sidecar(Sidecar(**values | changes)), encoding="utf-8")


def test_a_plan_gives_the_contract_of_its_sidecar(tmp_path: Path, contract: Contract) -> None:
    path = tmp_path / "model.plan"
    write_plan(path, contract)
    model = read_model(path)
    assert isinstance(model, PlanFile)
    assert (model.contract, model.data) == (contract, b"plan")


def test_a_plan_with_the_sidecar_of_another_model_is_refused(tmp_path: Path, contract: Contract) -> None:
    path = tmp_path / "model.plan"
    write_plan(path, contract, plan_sha256=hashlib.sha256(b"another plan").hexdigest())
    with pytest.raises(FileDamagedError, match="belongs to another sidecar"):
        read_plan(path)


@pytest.mark.parametrize("data", [b"", b"pla", b"plan!", b"plaN"])
def test_a_damaged_plan_is_refused(tmp_path: Path, contract: Contract, data: bytes) -> None:
    path = tmp_path / "model.plan"
    write_plan(path, contract)
    path.write_bytes(data)
    with pytest.raises(FileDamagedError, match="the plan was truncated, changed"):
        read_plan(path)
