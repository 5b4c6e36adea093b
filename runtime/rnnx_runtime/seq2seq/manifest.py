"""The manifest of an encoder and decoder pair: its files, what passes from one to the other, and where decoding ends.

It is sealed, as an .onnx is: with one number changed a pair would decode something else without a word.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any

from rnnx_runtime.contract import LARGEST_SIZE
from rnnx_runtime.contract_json import is_schema, is_size
from rnnx_runtime.errors import ContractError, FileDamagedError
from rnnx_runtime.files.regular_file import open_regular, read_regular
from rnnx_runtime.files.seal import BLANK, SEAL_KEY, check_seal, is_sealed, sealed
from rnnx_runtime.files.strict_json import value_from_json

SCHEMA = 1

LARGEST_MANIFEST = 2**20
"""Bytes; rnnx writes about a thousand."""

_KIND = "seq2seq"


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One file of a pair: its name beside the manifest, and its SHA-256."""

    file: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Seq2SeqManifest:
    """How an encoder and a decoder's step work together.

    `passes` maps each of the decoder's inputs but the token to the encoder's output, or input, that it is given. A row
    starts from `start_token`, ends at `end_token`, is `pad_token` after it, and has at most `max_steps` tokens. `loop`
    is the decoder with all its steps in one graph, `whole` the encoder and the loop in one.
    """

    encoder: Piece
    decoder: Piece
    loop: Piece | None
    whole: Piece | None
    passes: Mapping[str, str]
    start_token: int
    end_token: int
    pad_token: int
    max_steps: int
    versions: Mapping[str, str] = field(default_factory=dict)


def text_from_manifest(manifest: Seq2SeqManifest) -> str:
    """The manifest as sealed JSON text, in ASCII."""
    data = {"schema": SCHEMA, "kind": _KIND, **asdict(manifest), SEAL_KEY: BLANK}
    return sealed((json.dumps(data, indent=2) + "\n").encode()).decode()


def read_manifest(path: Path) -> Seq2SeqManifest:
    """A pair's manifest.

    Raises:
        FileDamagedError: missing, unreadable, or not the text that was written.
        ContractError: without a seal, not JSON, of another kind or schema, or malformed.
    """
    try:
        data = read_regular(path, LARGEST_MANIFEST)
    except OSError as error:
        raise FileDamagedError(
            str(path), got=error.strerror or str(error), expected="a readable manifest", remedy="check the path"
        ) from None
    if not is_sealed(data):
        raise _malformed(path, "no seal", "a whole manifest, as rnnx writes it: <name>.seq2seq.json")
    check_seal(data, str(path), "it was changed after it was written: copy it anew, or export the pair again")
    try:
        values = value_from_json(data)
    except ValueError as error:
        raise ContractError(
            str(path),
            got=f"no JSON: {error}",
            expected="a pair's manifest, <name>.seq2seq.json",
            remedy="name the manifest beside the pair's files; load opens a single model",
        ) from None
    if not isinstance(values, dict) or values.pop("kind", None) != _KIND:
        raise _malformed(path, "another kind of file", f"kind {_KIND!r}")
    if not is_schema(values.pop("schema", None), SCHEMA):
        raise _malformed(path, "another schema", f"schema {SCHEMA}")
    values.pop(SEAL_KEY, None)
    return _manifest_from_json(values, path)


def piece_path(manifest: Path, piece: Piece) -> Path:
    """Where a piece lies.

    Raises:
        FileDamagedError: it is missing, or not the file that the manifest names.
    """
    path = manifest.parent / piece.file
    try:
        with open_regular(path) as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileDamagedError(
            str(path),
            got=error.strerror or str(error),
            expected=f"the file that {manifest.name} names",
            remedy="copy every file of the pair",
        ) from None
    if actual != piece.sha256:
        raise FileDamagedError(
            str(path),
            got=f"a file with sha256 {actual[:12]}…",
            expected=f"{piece.sha256[:12]}…, which {manifest.name} names",
            remedy="the files are of different exports: copy all of one, or export the pair again",
        )
    return path


def _manifest_from_json(data: dict[str, Any], path: Path) -> Seq2SeqManifest:
    names = ("encoder", "decoder", "loop", "whole")
    try:
        pieces = {name: _piece(data[name], path) for name in names}
        manifest = Seq2SeqManifest(**{**data, **pieces})
    except (TypeError, KeyError) as error:
        raise _malformed(path, str(error)[:200], "exactly the keys of a manifest") from None
    if pieces["encoder"] is None or pieces["decoder"] is None:
        raise _malformed(path, "no encoder or no decoder", "both")
    for name in ("passes", "versions"):
        _check_texts(getattr(manifest, name), name, path)
    for name in ("start_token", "end_token", "pad_token"):
        token = getattr(manifest, name)
        if type(token) is not int or not 0 <= token <= LARGEST_SIZE:
            raise _malformed(path, f"{name} = {short_repr(token)}", "an index of the vocabulary")
    if not is_size(manifest.max_steps):
        raise _malformed(path, f"max_steps = {short_repr(manifest.max_steps)}", "a whole number from 1")
    return manifest


def _piece(data: object, path: Path) -> Piece | None:
    if data is None:
        return None
    keys = {own.name for own in fields(Piece)}
    if not isinstance(data, dict) or data.keys() != keys or not all(isinstance(own, str) for own in data.values()):
        raise _malformed(path, f"a piece {short_repr(data)}", "its file and sha256")
    name = data["file"]
    if Path(name).name != name or name in ("", "..") or "\0" in name:
        raise _malformed(path, f"a piece at {short_repr(name)}", "a plain file beside the manifest")
    return Piece(**data)


def _check_texts(value: object, name: str, path: Path) -> None:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise _malformed(path, f"{name} = {short_repr(value)}", "names")


def _malformed(path: Path, got: str, expected: str) -> ContractError:
    return ContractError(str(path), got=got, expected=expected, remedy="export the pair again with rnnx")
