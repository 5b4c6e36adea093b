"""A pair's manifest: written, read, and refused where it is not what was written."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rnnx_runtime.errors import ContractError, FileDamagedError
from rnnx_runtime.files.seal import sealed
from rnnx_runtime.seq2seq.manifest import (
    Piece,
    Seq2SeqManifest,
    piece_path,
    read_manifest,
    text_from_manifest,
)

MANIFEST = Seq2SeqManifest(
    encoder=Piece(file="a.encoder.onnx", sha256="0" * 64),
    decoder=Piece(file="a.decoder.onnx", sha256="1" * 64),
    loop=None,
    whole=None,
    passes={"state": "hn"},
    start_token=1,
    end_token=2,
    pad_token=2,
    max_steps=32,
    versions={"rnnx": "1"},
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.seq2seq.json"
    path.write_text(text_from_manifest(MANIFEST))
    return path


def test_what_is_written_is_read(path: Path) -> None:
    assert read_manifest(path) == MANIFEST
    full = replace(MANIFEST, loop=Piece(file="a.loop.onnx", sha256="2" * 64))
    path.write_text(text_from_manifest(full))
    assert read_manifest(path) == full


def test_one_digit_changed_is_damage(path: Path) -> None:
    path.write_text(path.read_text().replace('"end_token": 2', '"end_token": 3'))
    with pytest.raises(FileDamagedError, match=r"a\.seq2seq\.json"):
        read_manifest(path)


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileDamagedError, match="No such file"):
        read_manifest(tmp_path / "none.seq2seq.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"kind": "other"}, "another kind of file", id="kind"),
        pytest.param({"schema": 99}, "another schema", id="schema"),
        pytest.param({"schema": True}, "another schema", id="schema-of-another-type"),
        pytest.param({"more": 1}, "exactly the keys of a manifest", id="unknown-key"),
        pytest.param({"encoder": None}, "no encoder or no decoder", id="no-encoder"),
        pytest.param({"decoder": {"file": "x"}}, "a piece", id="piece-without-sha"),
        pytest.param({"decoder": {"file": "../x", "sha256": ""}}, "a plain file beside the manifest", id="elsewhere"),
        pytest.param({"decoder": {"file": "", "sha256": ""}}, "a plain file beside the manifest", id="no-name"),
        pytest.param({"decoder": {"file": 3, "sha256": ""}}, "a piece", id="name-of-another-type"),
        pytest.param({"passes": {"a": 1}}, "passes =", id="passes"),
        pytest.param({"versions": []}, "versions =", id="versions"),
        pytest.param({"start_token": -1}, "start_token = -1", id="token"),
        pytest.param({"end_token": 2.0}, "end_token = 2.0", id="token-of-another-type"),
        pytest.param({"max_steps": 0}, "max_steps = 0", id="steps"),
    ],
)
def test_a_manifest_of_another_shape_is_refused(path: Path, changes: dict[str, Any], message: str) -> None:
    values = {**json.loads(path.read_text()), **changes}
    path.write_bytes(sealed(json.dumps(values).encode()))
    with pytest.raises(ContractError, match=message):
        read_manifest(path)


def test_a_manifest_without_a_key_is_refused(path: Path) -> None:
    values = json.loads(path.read_text())
    del values["passes"]
    path.write_bytes(sealed(json.dumps(values).encode()))
    with pytest.raises(ContractError, match="exactly the keys of a manifest"):
        read_manifest(path)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\x00", b"[1, 2]"], ids=["empty", "object", "binary", "list"])
def test_what_is_no_manifest_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ContractError, match="no seal"):
        read_manifest(path)


def test_a_sealed_file_that_is_no_json_points_to_the_manifest(path: Path) -> None:
    path.write_bytes(sealed(b"\x08\xc4" + path.read_bytes()))
    with pytest.raises(ContractError, match=r"no JSON: .*<name>\.seq2seq\.json; name the manifest beside"):
        read_manifest(path)


def test_a_piece_is_the_file_that_the_manifest_names(path: Path) -> None:
    file = path.with_name("a.encoder.onnx")
    file.write_bytes(b"model")
    own = Piece(file=file.name, sha256=hashlib.sha256(b"model").hexdigest())
    assert piece_path(path, own) == file
    file.write_bytes(b"other")
    with pytest.raises(FileDamagedError, match="the files are of different exports"):
        piece_path(path, own)
    file.unlink()
    with pytest.raises(FileDamagedError, match="copy every file of the pair"):
        piece_path(path, own)
