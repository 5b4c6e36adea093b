import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from torch import nn

import rnnx
import rnnx.onnx_writer
from rnnx_runtime import Contract, ContractError, FileDamagedError
from rnnx_runtime.model_file import OnnxFile, PlanFile, read_model, read_onnx, read_plan
from rnnx_runtime.seal import BLANK, SEAL_KEY, seal_offset
from rnnx_runtime.sidecar import Range, Sidecar, sidecar_path, text_from_sidecar

SEED = 20260


def sealed(data: bytes) -> bytes:
    start, digest = seal_offset(data), hashlib.sha256(data).hexdigest().encode()
    return data[:start] + digest + data[start + len(digest) :]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    torch.manual_seed(SEED)
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    rnnx.export(nn.LSTM(3, 5), path)
    return path.read_bytes()


@pytest.fixture
def with_external_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    torch.manual_seed(SEED)
    monkeypatch.setattr(rnnx.onnx_writer, "PROTOBUF_LIMIT", 64)
    rnnx.export(nn.LSTM(3, 5), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_a_whole_model_gives_its_contract(tmp_path: Path, exported: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(exported)
    model = read_model(path)
    assert isinstance(model, OnnxFile)
    assert (model.path, model.data, model.external_data) == (path, exported, None)
    assert (model.contract.cell, model.contract.input_size, model.contract.hidden_size) == ("lstm", 3, 5)


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
    "text",
    [
        pytest.param(f'{{"{SEAL_KEY}": "{BLANK}"}}7', id="no-contract"),
        pytest.param(f'{{"schema": 1, "{SEAL_KEY}": "{BLANK}"', id="no-json"),
        pytest.param(f'{{"schema": 1, "{SEAL_KEY}": "{BLANK}"}}', id="schema-alone"),
        pytest.param(f'{{"schema": 2, "{SEAL_KEY}": "{BLANK}"}}', id="another-schema"),
    ],
)
def test_a_good_seal_on_a_bad_contract_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(sealed(b"\x08" + text.encode()))
    with pytest.raises(ContractError, match=r"model\.onnx"):
        read_onnx(path)


@pytest.mark.parametrize(
    ("name", "make", "got", "remedy"),
    [
        pytest.param("gone.onnx", lambda path: None, "No such file", "check the path", id="missing-onnx"),
        pytest.param("gone.plan", lambda path: None, "No such file", "check the path", id="missing-plan"),
        pytest.param("folder.onnx", Path.mkdir, "Is a directory", "check the path", id="folder"),
        pytest.param("model.pt", Path.touch, "suffix '.pt'", "name the model's file", id="suffix"),
        pytest.param("model", Path.touch, "suffix ''", "name the model's file", id="no-suffix"),
    ],
)
def test_what_is_no_model_file_is_refused(
    tmp_path: Path, name: str, make: Callable[[Path], None], got: str, remedy: str
) -> None:
    make(tmp_path / name)
    with pytest.raises(FileDamagedError, match=rf"{name}: got {got}.*, expected .*; {remedy}"):
        read_model(tmp_path / name)


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


def test_external_data_behind_a_link_is_refused(with_external_data: Path) -> None:
    path = with_external_data.with_name("model.onnx.data")
    path.replace(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")
    with pytest.raises(ContractError, match="expected a plain file beside the model"):
        read_onnx(with_external_data)


@pytest.mark.parametrize(
    "entry", ["model.onnx.data", 7, {}, {"file": "../secret"}, {"file": "/etc/passwd"}, {"file": ""}]
)
def test_external_data_elsewhere_is_refused(with_external_data: Path, entry: object) -> None:
    model = onnx.load(with_external_data, load_external_data=False)
    (values,) = (json.loads(prop.value) for prop in model.metadata_props)
    helper.set_model_props(model, {"rnnx": json.dumps({**values, "external_data": entry, SEAL_KEY: BLANK})})
    with_external_data.write_bytes(sealed(model.SerializeToString(deterministic=True)))
    with pytest.raises((ContractError, FileDamagedError)):
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
