"""The sidecar of an engine: `<plan>.json`, which says what the plan beside it holds and pins it by SHA-256.

It is sealed, as an .onnx is: a sidecar with one digit changed would describe the engine wrongly.
"""

import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any, Literal, get_args

from rnnx_runtime.contract import LARGEST_SIZE, Contract, Dim, TensorSpec
from rnnx_runtime.contract_json import contract_from_json, is_schema, is_size, json_from_contract
from rnnx_runtime.dim_expressions import size_of, symbols_of
from rnnx_runtime.errors import ContractError, FileDamagedError
from rnnx_runtime.files.regular_file import read_regular
from rnnx_runtime.files.seal import BLANK, SEAL_KEY, check_seal, is_sealed, sealed
from rnnx_runtime.files.strict_json import value_from_json

Flavor = Literal["tensorrt", "tensorrt-rtx"]

SCHEMA = 3

LARGEST_SIDECAR = 2**20
"""Bytes; rnnx writes about two thousand."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """The sizes one symbolic dim may take in a profile: any from `min` to `max`, fastest at `opt`."""

    min: int
    opt: int
    max: int


Profile = Mapping[str, Range]
"""One optimization profile: a range for each symbolic dim, such as `{"B": Range(min=1, opt=8, max=64)}`."""


@dataclass(frozen=True, kw_only=True)
class Sidecar:
    """What a plan holds: its contract, the library that built it, where it runs, the sizes it takes, and digests.

    `targets` are compute capabilities such as `"8.9"`, or `"portable"`.
    """

    flavor: Flavor
    version: str
    targets: tuple[str, ...]
    tf32: bool
    profiles: tuple[Profile, ...]
    plan_sha256: str
    onnx_sha256: str
    contract: Contract


def ranges_of(profile: Profile, spec: TensorSpec) -> list[Range]:
    """The range of each of a tensor's dims under a profile; an expression's holds all that it comes to."""
    return [_range_of(profile, dim) for dim in spec.dims]


def _range_of(profile: Profile, dim: Dim) -> Range:
    if isinstance(dim, int):
        return Range(min=dim, opt=dim, max=dim)
    if dim in profile:
        return profile[dim]
    symbols = symbols_of(dim)
    ends = itertools.product(*((profile[symbol].min, profile[symbol].max) for symbol in symbols))
    found = [size_of(dim, dict(zip(symbols, own, strict=True))) for own in ends]
    best = size_of(dim, {symbol: profile[symbol].opt for symbol in symbols})
    sizes = sorted(min(max(size, 1), LARGEST_SIZE) for size in (*found, best) if size is not None)
    return Range(min=sizes[0], opt=min(max(best or 1, sizes[0]), sizes[-1]), max=sizes[-1])


def sidecar_path(plan: Path) -> Path:
    """`model.plan` → `model.plan.json`."""
    return plan.with_name(plan.name + ".json")


def text_from_sidecar(sidecar: Sidecar) -> str:
    """The sidecar as sealed JSON text, in ASCII."""
    facts = {key: value for key, value in asdict(sidecar).items() if key != "contract"}
    data = {"schema": SCHEMA, "contract": json_from_contract(sidecar.contract), **facts, SEAL_KEY: BLANK}
    return sealed((json.dumps(data, indent=2) + "\n").encode()).decode()


def read_sidecar(plan: Path) -> Sidecar:
    """The sidecar of a plan.

    Raises:
        ContractError: it is missing, without a seal, not JSON, of another schema, or malformed.
        FileDamagedError: it is not the text that was written.
    """
    path = sidecar_path(plan)
    return _checked(_built(path, _values(path, plan)), path)


def _values(path: Path, plan: Path) -> dict[str, Any]:
    """The sidecar's JSON data without its schema and seal."""
    data = _bytes_of(path, plan)
    if not is_sealed(data):
        raise _malformed(path, "no seal", "a whole sidecar, as this version of rnnx writes it")
    check_seal(data, str(path), "it was changed after it was written: copy it anew, or build the engine again")
    try:
        values = value_from_json(data)
    except ValueError as error:
        raise _malformed(path, str(error), "JSON") from None
    if not isinstance(values, dict) or not is_schema(values.pop("schema", None), SCHEMA):
        raise _malformed(path, "another schema", f"schema {SCHEMA}")
    values.pop(SEAL_KEY, None)
    return values


def check_plan(sidecar: Sidecar, plan: Path, data: bytes) -> None:
    """Compare a plan's bytes with its sidecar.

    Raises:
        FileDamagedError: the plan is not the one the sidecar describes.
    """
    actual = hashlib.sha256(data).hexdigest()
    if actual != sidecar.plan_sha256:
        raise FileDamagedError(
            str(plan),
            got=f"a plan with sha256 {actual[:12]}…",
            expected=f"{sidecar.plan_sha256[:12]}…, which its sidecar names",
            remedy="the plan was truncated, changed or belongs to another sidecar: build the engine again",
        )


def _bytes_of(path: Path, plan: Path) -> bytes:
    try:
        return read_regular(path, LARGEST_SIDECAR)
    except FileNotFoundError:
        raise ContractError(
            str(plan),
            got="no sidecar",
            expected=f"{path.name} beside it",
            remedy="copy the sidecar along with the plan, or build the engine again with rnnx build-engine",
        ) from None
    except OSError as error:
        raise _malformed(path, error.strerror or str(error), "a readable file") from None


def _built(path: Path, data: dict[str, Any]) -> Sidecar:
    try:
        profiles = tuple({dim: Range(**sizes) for dim, sizes in profile.items()} for profile in data["profiles"])
        if not isinstance(data["targets"], list):
            raise _malformed(path, "a value of the wrong type", "version, targets and digests as text")
        contract = contract_from_json(data["contract"], str(path))
        return Sidecar(**{**data, "contract": contract, "profiles": profiles, "targets": tuple(data["targets"])})
    except (TypeError, KeyError, AttributeError) as error:
        raise _malformed(path, str(error)[:200], "exactly the keys of a sidecar") from None


def _checked(sidecar: Sidecar, path: Path) -> Sidecar:
    profiles, contract = sidecar.profiles, sidecar.contract
    ranges = [(sizes.min, sizes.opt, sizes.max) for profile in profiles for sizes in profile.values()]
    texts = (sidecar.version, sidecar.plan_sha256, sidecar.onnx_sha256, *sidecar.targets)
    if sidecar.flavor not in get_args(Flavor):
        raise _malformed(path, f"flavor {short_repr(sidecar.flavor)}", " or ".join(get_args(Flavor)))
    if not all(isinstance(text, str) for text in texts):
        raise _malformed(path, "a value of the wrong type", "version, targets and digests as text")
    dims = set(contract.free_dims)
    if not profiles or any(profile.keys() != dims for profile in profiles):
        raise _malformed(path, "profiles that do not fit the model", f"profiles with ranges for {sorted(dims)}")
    if type(sidecar.tf32) is not bool:
        raise _malformed(path, f"tf32 {short_repr(sidecar.tf32)}", "true or false")
    if not all(is_size(size) for sizes in ranges for size in sizes) or not all(a <= b <= c for a, b, c in ranges):
        raise _malformed(path, "a profile out of order or of the wrong type", f"1 ≤ min ≤ opt ≤ max ≤ {LARGEST_SIZE}")
    return sidecar


def _malformed(path: Path, got: str, expected: str) -> ContractError:
    return ContractError(str(path), got=got, expected=expected, remedy="build the engine again with rnnx build-engine")
