"""What other tools make of a sealed model, read against its contract."""

import re
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from tests.rnnx.processed_files import Edit, halve, processed, rename
from torch import nn

import rnnx
from rnnx.errors import CheckpointError, OptionError
from rnnx.runners.foreign_model import ForeignModel
from rnnx.runners.sources import Sources, read_subject
from rnnx_runtime import ContractError, FileDamagedError


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("original") / "model.onnx"
    torch.manual_seed(0)
    rnnx.export(nn.LSTM(5, 8), path, rnnx.ExportOptions(lengths=True))
    return path


def _read(path: Path, original: Path, **names: str) -> ForeignModel:
    subject = read_subject(path, Sources(like=original, names=names))
    assert subject.foreign is not None
    assert subject.golden == original.with_name("model.golden.npz")
    return subject.foreign


ALL = ("x", "h0", "c0", "lengths", "output", "hn", "cn")


def test_the_contract_and_the_names_are_the_originals(original: Path, tmp_path: Path) -> None:
    found = _read(processed(original, tmp_path, lambda model: None), original)
    own = read_subject(original, Sources()).contract
    assert found.file.contract == own
    assert found.names == {name: name for name in ALL}
    assert found.outputs == own.outputs
    assert not found.dtypes


def test_other_names_are_matched_by_position(original: Path, tmp_path: Path) -> None:
    names = {name: f"tensor_{index}" for index, name in enumerate(ALL)}
    assert _read(processed(original, tmp_path, rename(**names)), original).names == names


def test_one_other_name_is_matched_with_the_tensor_that_is_left(original: Path, tmp_path: Path) -> None:
    found = _read(processed(original, tmp_path, rename(output="out")), original)
    assert found.names == {name: name for name in ALL} | {"output": "out"}


def test_a_map_goes_before_names(original: Path, tmp_path: Path) -> None:
    path = processed(original, tmp_path, rename(h0="c0", c0="h0"))
    assert _read(path, original).names["h0"] == "h0"
    assert _read(path, original, h0="c0", c0="h0").names["h0"] == "c0"


def test_half_inputs_and_outputs_are_taken_and_told(original: Path, tmp_path: Path) -> None:
    ends = [name for name in ALL if name != "lengths"]
    found = _read(processed(original, tmp_path, halve(*ends)), original)
    assert found.dtypes == dict.fromkeys(ends, "float16")
    assert [spec.dtype for spec in found.outputs] == ["float16"] * 3
    assert found.file.contract.precision == "float16"
    assert [spec.dtype for spec in found.file.contract.inputs] == ["float32", "float32", "float32", "int32"]


def test_outputs_beside_the_originals_are_named(original: Path, tmp_path: Path) -> None:
    def edit(model: onnx.ModelProto) -> None:
        model.graph.node.add(op_type="Identity", input=["output"], output=["more"])
        model.graph.output.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, None))

    assert _read(processed(original, tmp_path, edit), original).unmapped == ("more",)


def test_a_fixed_time_is_told(original: Path, tmp_path: Path) -> None:
    def edit(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 6

    assert _read(processed(original, tmp_path, edit), original).fixed == {"T": 6}


def _drop(name: str) -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        for side in (model.graph.input, model.graph.output):
            for value in [own for own in side if own.name == name]:
                side.remove(value)
        for node in model.graph.node:
            node.input[:] = ["" if own == name else own for own in node.input]

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_drop("lengths"), "none for lengths int32 (B,), expected the original's, x float32 (T, B, 5)"),
        (_drop("cn"), "output float32 (T, B, 8), hn float32 (1, B, 8): none for cn float32 (1, B, 8)"),
        (
            lambda model: model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1])),
            "more float32 (1,): more besides",
        ),
        (halve("lengths"), "which stands for lengths: got float16 (B,), expected int32 (B,)"),
    ],
    ids=["input-lost", "output-lost", "input-more", "dtype"],
)
def test_what_has_no_counterpart_is_refused(original: Path, tmp_path: Path, edit: Edit, message: str) -> None:
    with pytest.raises(OptionError, match=re.escape(message)):
        _read(processed(original, tmp_path, edit), original)


def test_an_original_of_other_sizes_is_refused(original: Path, tmp_path: Path) -> None:
    rnnx.export(nn.LSTM(5, 9), tmp_path / "other.onnx", rnnx.ExportOptions(lengths=True))
    with pytest.raises(OptionError, match=re.escape("'h0' of model.onnx, which stands for h0: got float32 (1, B, 8)")):
        read_subject(original, Sources(like=tmp_path / "other.onnx"))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"y": "x"}, "names: got 'y', expected one of x, h0, c0, lengths, output, hn, cn"),
        ({"x": "y"}, "names for x: got 'y', expected one of x, h0, c0, lengths"),
    ],
    ids=["no-contract-name", "no-tensor"],
)
def test_a_wrong_name_lists_the_real_ones(original: Path, names: dict[str, str], message: str) -> None:
    with pytest.raises(OptionError, match=re.escape(message)):
        _read(original, original, **names)


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ({"module": "lstm"}, "module: got it for a file like model.onnx"),
        ({"batch_first": True}, "batch_first: got it for a file like model.onnx"),
        ({"engine": Path("model.plan")}, "engine: got one for model.onnx, which rnnx did not make"),
    ],
    ids=["module", "batch-first", "engine"],
)
def test_options_for_other_files_are_refused(original: Path, sources: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        read_subject(original, Sources(like=original, **sources))


def test_a_checkpoint_of_other_weights_is_refused(original: Path, tmp_path: Path) -> None:
    torch.save(nn.LSTM(5, 8).state_dict(), tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="expected weights with sha256"):
        read_subject(original, Sources(like=original, checkpoint=tmp_path / "other.pt"))


def test_an_original_that_is_not_sealed_is_refused(original: Path, tmp_path: Path) -> None:
    path = processed(original, tmp_path, lambda model: None)
    with pytest.raises(FileDamagedError, match="got content with sha256"):
        read_subject(original, Sources(like=path))
    model = onnx.load(original)
    del model.metadata_props[:]
    onnx.save(model, path)
    with pytest.raises(ContractError, match="no rnnx contract in it"):
        read_subject(original, Sources(like=path))


def test_a_damaged_file_is_refused(original: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(original.read_bytes()[:100])
    with pytest.raises(FileDamagedError, match="expected a whole ONNX file"):
        _read(path, original)
