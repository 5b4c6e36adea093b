"""Reading an .onnx or a .plan with its contract, every byte checked before any engine sees it."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnx_runtime.contract import Contract, contract_from_json
from rnnx_runtime.errors import ContractError, FileDamagedError
from rnnx_runtime.seal import SEAL_KEY, check_seal, is_sealed
from rnnx_runtime.sidecar import Sidecar, check_plan, read_sidecar

CONTRACT_START = '{"schema": '
"""How the contract's JSON text begins inside an .onnx file."""


@dataclass(frozen=True, kw_only=True)
class OnnxFile:
    """A checked .onnx file; `external_data` is the weights' own file, for models too large for one protobuf."""

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
        FileDamagedError: missing, of another suffix, truncated, or changed since it was written.
        ContractError: it has no contract, or one that this version cannot read.
    """
    match path.suffix:
        case ".onnx":
            return read_onnx(path)
        case ".plan":
            return read_plan(path)
    raise FileDamagedError(
        str(path), got=f"suffix {path.suffix!r}", expected=".onnx or .plan", remedy="name the model's file"
    )


def read_onnx(path: Path) -> OnnxFile:
    """Read and check an .onnx file; raises as `read_model`."""
    data = _bytes_of(path)
    if not is_sealed(data):
        raise ContractError(
            str(path),
            got="no rnnx contract in it",
            expected="a model that rnnx export wrote, whole",
            remedy="export it with rnnx export; a truncated copy also looks like this",
        )
    check_seal(data, str(path))
    values = _contract_values(data, path)
    values.pop(SEAL_KEY, None)
    external = values.pop("external_data", None)
    contract = contract_from_json(values, str(path))
    return OnnxFile(path=path, contract=contract, data=data, external_data=_external_data(path, external))


def read_plan(path: Path) -> PlanFile:
    """Read and check a .plan file and its sidecar; raises as `read_model`."""
    data = _bytes_of(path)
    sidecar = read_sidecar(path)
    check_plan(sidecar, path, data)
    return PlanFile(path=path, sidecar=sidecar, data=data)


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileDamagedError(
            str(path), got=error.strerror or str(error), expected="a readable file", remedy="check the path"
        ) from None


def _contract_values(data: bytes, path: Path) -> dict[str, Any]:
    start = data.rfind(CONTRACT_START.encode())
    try:
        text = data[start:].decode("utf-8", "replace") if start >= 0 else ""
        values: Any = json.JSONDecoder().raw_decode(text)[0]
    except (ValueError, RecursionError) as error:
        raise ContractError(
            str(path), got=f"a contract that is not JSON ({error})", expected="JSON", remedy="export the model again"
        ) from None
    return dict(values)


def _external_data(model: Path, entry: Any) -> Path | None:
    if entry is None:
        return None
    name = str(entry.get("file")) if isinstance(entry, dict) else ""
    path = model.parent / name
    if Path(name).name != name or path.is_symlink():
        raise ContractError(
            str(model),
            got=f"external data at {name!r}",
            expected="a plain file beside the model",
            remedy="export the model again",
        )
    try:
        with path.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileDamagedError(
            str(path), got=error.strerror or str(error), expected="the model's weights", remedy="copy both files"
        ) from None
    if actual != entry.get("sha256"):
        raise FileDamagedError(
            str(path),
            got="other bytes than were exported",
            expected="the model's weights",
            remedy="copy both files anew",
        )
    return path
