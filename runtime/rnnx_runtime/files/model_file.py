"""Reading an .onnx or a .plan with its contract, every byte checked before any engine sees it.

A symbolic link to a model is followed: deployments switch versions so. External data lies beside the file that the link
leads to, and is itself no link.
"""

import hashlib
import os
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any

from rnnx_runtime.contract import Contract
from rnnx_runtime.contract_json import contract_from_json
from rnnx_runtime.errors import ContractError, FileDamagedError
from rnnx_runtime.files.external_data import ExternalTensor, external_size, external_tensors, refuse_external
from rnnx_runtime.files.onnx_metadata import metadata_value
from rnnx_runtime.files.regular_file import open_regular, read_regular
from rnnx_runtime.files.seal import SEAL_KEY, check_seal, is_sealed
from rnnx_runtime.files.sidecar import Sidecar, check_plan, read_sidecar
from rnnx_runtime.files.strict_json import value_from_json

LARGEST_ONNX = 2**31 - 1
"""Bytes of the largest protobuf; larger weights are external data."""

LARGEST_PLAN = 2**34
"""Bytes; several times what the largest exported model takes."""

LONGEST_NAME = 255
"""Characters of a file's name; no file system in use has longer ones."""


@dataclass(frozen=True, kw_only=True)
class OnnxFile:
    """A checked .onnx file; `external_data` is the weights' own file, for models too large for one protobuf.

    `data` is what was checked, and what an engine gets. With `external_data` an engine opens both files once more, by
    `path`: whoever can write to their folder can change them in between, as they could have changed and sealed them
    before.
    """

    path: Path
    contract: Contract
    data: bytes
    external_data: Path | None


@dataclass(frozen=True, kw_only=True)
class PlanFile:
    """A checked .plan file and its sidecar."""

    path: Path
    sidecar: Sidecar
    data: bytes

    @property
    def contract(self) -> Contract:
        """The contract of the model in the plan."""
        return self.sidecar.contract


ModelFile = OnnxFile | PlanFile


def read_model(path: Path) -> ModelFile:
    """Read a model by its suffix.

    Raises:
        FileDamagedError: missing, no regular file, of another suffix, truncated, or changed since it was written.
        ContractError: it has no contract, or one that this version cannot read, or external data elsewhere.
    """
    match path.suffix:
        case ".onnx":
            return read_onnx(path)
        case ".plan":
            return read_plan(path)
    raise _unknown_suffix(path)


def read_onnx(path: Path) -> OnnxFile:
    """Read and check an .onnx file; raises as `read_model`."""
    return checked_onnx(path, bytes_of(path, LARGEST_ONNX))


def checked_onnx(path: Path, data: bytes) -> OnnxFile:
    """The file at `path`, whose bytes were read already, checked; raises as `read_model`."""
    values = _sealed_values(path, data)
    real, external = _weights_file(path, data, values)
    return OnnxFile(path=real, contract=contract_from_json(values, str(path)), data=data, external_data=external)


def read_plan(path: Path) -> PlanFile:
    """Read and check a .plan file and its sidecar; raises as `read_model`."""
    data = bytes_of(path, LARGEST_PLAN)
    sidecar = read_sidecar(path)
    check_plan(sidecar, path, data)
    return PlanFile(path=path, sidecar=sidecar, data=data)


def _sealed_values(path: Path, data: bytes) -> dict[str, Any]:
    """The contract of a whole file as JSON data."""
    if not is_sealed(data):
        raise ContractError(
            str(path),
            got="no rnnx contract in it",
            expected="a model that rnnx export wrote, whole",
            remedy="export it with rnnx export; a truncated copy also looks like this",
        )
    check_seal(data, str(path))
    return _contract_values(data, path)


def _weights_file(path: Path, data: bytes, values: dict[str, Any]) -> tuple[Path, Path | None]:
    """The model's path and that of the weights outside it; the entry that names them is taken out of `values`."""
    tensors = _external_tensors(data, path)
    entry = values.pop("external_data", None)
    if entry is None:
        refuse_external(tensors, str(path))
        return path, None
    real = path.resolve()
    return real, _external_data(real, entry, tensors)


def bytes_of(path: Path, most: int) -> bytes:
    """The bytes of a regular file, at most `most` of them.

    Raises:
        FileDamagedError: it cannot be read, is larger, or is no regular file.
    """
    try:
        return read_regular(path, most)
    except OSError as error:
        raise FileDamagedError(
            str(path), got=error.strerror or str(error), expected="a readable file", remedy="check the path"
        ) from None


def _contract_values(data: bytes, path: Path) -> dict[str, Any]:
    try:
        values = value_from_json(metadata_value(data, "rnnx"))
    except ValueError as error:
        raise _malformed(path, f"a contract that cannot be read ({error})", "JSON in the model's metadata") from None
    if not isinstance(values, dict) or values.pop(SEAL_KEY, None) is None:
        raise _malformed(path, "a contract without the file's seal", "an object that holds it")
    return values


def _external_tensors(data: bytes, path: Path) -> list[ExternalTensor]:
    try:
        return external_tensors(data)
    except ValueError as error:
        raise _malformed(path, f"no ONNX graph ({error})", "one that rnnx export wrote") from None


def _external_data(model: Path, entry: Any, tensors: list[ExternalTensor]) -> Path:
    name, digest = (entry.get("file"), entry.get("sha256")) if isinstance(entry, dict) else (None, None)
    if not isinstance(name, str) or not _is_plain(name):
        raise _malformed(model, f"external data at {short_repr(name)}", "a plain file beside the model")
    path, size = model.parent / name, external_size(tensors, name, str(model))
    try:
        if path.is_symlink():
            raise _malformed(model, f"external data at {name!r}, a link", "a plain file beside the model")
        with open_regular(path, follow_links=False) as file:  # a link put there since then is an OSError
            actual = _digest_of(file, size)
    except OSError as error:
        raise FileDamagedError(
            str(path), got=error.strerror or str(error), expected="the model's weights", remedy="copy both files"
        ) from None
    if actual != digest:
        raise FileDamagedError(
            str(path),
            got="other bytes than were exported",
            expected="the model's weights",
            remedy="copy both files anew",
        )
    return path


def _is_plain(name: str) -> bool:
    return Path(name).name == name and name not in ("", "..") and "\0" not in name and len(name) <= LONGEST_NAME


def _digest_of(file: BufferedReader, size: int) -> str | None:
    """The SHA-256 of a file that has this size; None for another, however large, without reading it."""
    same = os.fstat(file.fileno()).st_size == size
    return hashlib.file_digest(file, "sha256").hexdigest() if same else None


def _unknown_suffix(path: Path) -> FileDamagedError:
    pair = path.name.endswith(".seq2seq.json")
    return FileDamagedError(
        str(path),
        got="the manifest of a pair" if pair else f"suffix {path.suffix!r}",
        expected=".onnx or .plan",
        remedy="open it with rnnx_runtime.load_seq2seq" if pair else "name the model's file",
    )


def _malformed(path: Path, got: str, expected: str) -> ContractError:
    return ContractError(str(path), got=got, expected=expected, remedy="export the model again")
