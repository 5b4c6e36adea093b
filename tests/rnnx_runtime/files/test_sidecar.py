import dataclasses
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.whole_model import CONTRACT

from rnnx_runtime import Contract, ContractError, FileDamagedError
from rnnx_runtime.contract import Dim, TensorSpec
from rnnx_runtime.files.seal import BLANK, SEAL_KEY, sealed
from rnnx_runtime.files.sidecar import (
    Range,
    Sidecar,
    check_plan,
    ranges_of,
    read_sidecar,
    sidecar_path,
    text_from_sidecar,
)

PLAN = b"ftrt plan bytes"
RANGE = Range(min=1, opt=2, max=4)


@pytest.fixture
def sidecar(contract: Contract) -> Sidecar:
    return Sidecar(
        contract=contract,
        flavor="tensorrt-rtx",
        version="1.2.0",
        targets=("8.9", "12.0"),
        tf32=False,
        profiles=(
            {"B": Range(min=1, opt=8, max=64), "T": Range(min=1, opt=20, max=100)},
            {"B": Range(min=1, opt=1, max=1), "T": Range(min=1, opt=1, max=1)},
        ),
        plan_sha256=hashlib.sha256(PLAN).hexdigest(),
        onnx_sha256="cd" * 32,
    )


@pytest.fixture
def plan(tmp_path: Path, sidecar: Sidecar) -> Path:
    path = tmp_path / "model.plan"
    path.write_bytes(PLAN)
    sidecar_path(path).write_text(text_from_sidecar(sidecar), encoding="utf-8")
    return path


def edit(plan: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = sidecar_path(plan)
    path.write_bytes(sealed(json.dumps(change(json.loads(path.read_bytes()))).encode()))


def test_a_sidecar_survives_its_file(plan: Path, sidecar: Sidecar) -> None:
    assert read_sidecar(plan) == sidecar
    check_plan(sidecar, plan, PLAN)


def test_a_sidecar_lies_beside_its_plan_under_its_full_name() -> None:
    assert sidecar_path(Path("models/model.plan")) == Path("models/model.plan.json")


def test_a_missing_sidecar_says_what_to_copy(plan: Path) -> None:
    sidecar_path(plan).unlink()
    with pytest.raises(ContractError) as caught:
        read_sidecar(plan)
    assert str(caught.value) == (
        f"{plan}: got no sidecar, expected model.plan.json beside it; copy the sidecar along with the plan, "
        "or build the engine again with rnnx build-engine"
    )


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[]", b"null", b'{"schema": 3}'])
def test_a_sidecar_without_a_seal_is_refused(plan: Path, content: bytes) -> None:
    sidecar_path(plan).write_bytes(content)
    with pytest.raises(ContractError) as caught:
        read_sidecar(plan)
    assert str(caught.value) == (
        f"{sidecar_path(plan)}: got no seal, expected a whole sidecar, as this version of rnnx writes it; "
        "build the engine again with rnnx build-engine"
    )


@pytest.mark.parametrize(
    ("content", "got"),
    [
        pytest.param("{%s", "Expecting ',' delimiter", id="no-json"),
        pytest.param("[{%s}]", "another schema", id="no-object"),
        pytest.param('{"schema": 1, %s}', "another schema", id="schema-older"),
        pytest.param('{"schema": true, %s}', "another schema", id="schema-true"),
        pytest.param('{"schema": 3.0, %s}', "another schema", id="schema-fraction"),
        pytest.param('{"schema": 3, "tf32": NaN, %s}', "NaN, which is no JSON number", id="nan"),
        pytest.param('{"schema": 3, "tf32": -Infinity, %s}', "-Infinity, which is no JSON number", id="infinity"),
        pytest.param('{"schema": 3, "schema": 2, %s}', "a key given twice", id="key-twice"),
        pytest.param('{"schema": 3, "x": ' + "[" * 1000 + "]" * 1000 + ", %s}", "nested deeper than 16", id="deep"),
        pytest.param('{"schema": 3, "x": ' + "[" * 99999 + ", %s}", "nested deeper than 16", id="bottomless"),
        pytest.param('{"schema": 3, "x": ' + "9" * 5000 + ", %s}", "Exceeds the limit", id="digits"),
        pytest.param('{"schema": 3, "\\ud800": 1, %s}', "exactly the keys of a sidecar", id="surrogate"),
    ],
)
def test_a_good_seal_on_what_is_no_sidecar_is_refused(plan: Path, content: str, got: str) -> None:
    text = content.replace("%s", f'"{SEAL_KEY}": "{BLANK}"')
    sidecar_path(plan).write_bytes(sealed(text.encode()))
    with pytest.raises(ContractError, match=r"model\.plan\.json: got .*; build the engine again") as caught:
        read_sidecar(plan)
    assert got in str(caught.value)


def test_every_changed_byte_of_a_sidecar_is_refused(plan: Path) -> None:
    path = sidecar_path(plan)
    data = path.read_bytes()
    for place in range(0, len(data), 7):
        changed = bytearray(data)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises((ContractError, FileDamagedError), match=r"model\.plan\.json: got "):
            read_sidecar(plan)


def test_a_sidecar_too_large_to_be_one_is_not_read(plan: Path) -> None:
    with sidecar_path(plan).open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(
        ContractError, match=r"got 1099511627776 bytes, more than the 1048576 that such a file can have"
    ):
        read_sidecar(plan)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_fifo_in_place_of_the_sidecar_is_not_waited_for(plan: Path) -> None:
    sidecar_path(plan).unlink()
    os.mkfifo(sidecar_path(plan))
    with pytest.raises(ContractError, match=r"model\.plan\.json: got a FIFO, no regular file"):
        read_sidecar(plan)


def test_a_folder_in_place_of_the_sidecar_is_refused(plan: Path) -> None:
    sidecar_path(plan).unlink()
    sidecar_path(plan).mkdir()
    with pytest.raises(ContractError, match=r"model\.plan\.json: got .*, expected a readable file"):
        read_sidecar(plan)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"flavor": "tensorrt-llm"}, id="flavor-unknown"),
        pytest.param({"version": 10}, id="version-number"),
        pytest.param({"targets": "8.9"}, id="targets-text"),
        pytest.param({"targets": [8.9]}, id="targets-numbers"),
        pytest.param({"targets": None}, id="targets-null"),
        pytest.param({"tf32": "no"}, id="tf32-text"),
        pytest.param({"profiles": None}, id="profiles-null"),
        pytest.param({"profiles": [[]]}, id="profile-list"),
        pytest.param({"profiles": [{"B": {"min": 1, "max": 2}}]}, id="range-incomplete"),
        pytest.param({"plan_sha256": None}, id="digest-null"),
        pytest.param({"onnx_sha256": 7}, id="digest-number"),
        pytest.param({"contract": {}}, id="contract-empty"),
        pytest.param({"contract": None}, id="contract-null"),
        pytest.param({"extra": 1}, id="key-unknown"),
    ],
)
def test_a_malformed_value_is_refused(plan: Path, change: dict[str, Any]) -> None:
    edit(plan, lambda values: {**values, **change})
    with pytest.raises(ContractError, match=r"model\.plan\.json: got "):
        read_sidecar(plan)


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param((0, 1, 2), id="zero"),
        pytest.param((-3, -2, -1), id="negative"),
        pytest.param((1, 3, 2), id="opt-above-max"),
        pytest.param((2, 1, 3), id="opt-below-min"),
        pytest.param((1, 1.5, 2), id="fraction"),
        pytest.param((1, "1", 2), id="text"),
        pytest.param((True, 1, 2), id="true"),
        pytest.param((1, 1, 2**31), id="past-int32"),
        pytest.param((1, 1, 10**400), id="huge"),
        pytest.param((1, None, 2), id="null"),
    ],
)
def test_a_range_out_of_order_or_of_no_sizes_is_refused(plan: Path, sizes: tuple[object, ...]) -> None:
    profile = {"B": dict(zip(("min", "opt", "max"), sizes, strict=True)), "T": {"min": 1, "opt": 1, "max": 1}}
    edit(plan, lambda values: {**values, "profiles": [profile]})
    with pytest.raises(ContractError, match=r"a profile out of order or of the wrong type, expected 1 ≤ min"):
        read_sidecar(plan)


@pytest.mark.parametrize("key", [field.name for field in dataclasses.fields(Sidecar)])
def test_a_missing_key_is_refused(plan: Path, key: str) -> None:
    edit(plan, lambda values: {name: value for name, value in values.items() if name != key})
    with pytest.raises(ContractError, match=key):
        read_sidecar(plan)


def test_a_plan_that_is_not_the_sidecars_is_refused(plan: Path) -> None:
    with pytest.raises(FileDamagedError) as caught:
        check_plan(read_sidecar(plan), plan, PLAN + b"\x00")
    message = str(caught.value)
    assert message.startswith(f"{plan}: got a plan with sha256 ")
    assert f"expected {hashlib.sha256(PLAN).hexdigest()[:12]}…, which its sidecar names; " in message
    assert message.endswith("build the engine again")


def test_a_whole_models_sidecar_survives_its_file(plan: Path, sidecar: Sidecar) -> None:
    facts = {field.name: getattr(sidecar, field.name) for field in dataclasses.fields(sidecar)}
    whole = Sidecar(**{**facts, "contract": CONTRACT, "profiles": ({"B": RANGE, "T": RANGE},)})
    sidecar_path(plan).write_text(text_from_sidecar(whole), encoding="utf-8")
    assert read_sidecar(plan) == whole


def test_profiles_must_be_over_a_whole_models_own_dims(plan: Path, sidecar: Sidecar) -> None:
    facts = {field.name: getattr(sidecar, field.name) for field in dataclasses.fields(sidecar)}
    whole = Sidecar(**{**facts, "contract": CONTRACT, "profiles": ({"B": RANGE, "D1": RANGE},)})
    sidecar_path(plan).write_text(text_from_sidecar(whole), encoding="utf-8")
    with pytest.raises(ContractError, match="profiles"):
        read_sidecar(plan)


@pytest.mark.parametrize(
    ("dim", "expected"),
    [
        (3, (3, 3, 3)),
        ("T", (1, 5, 20)),
        ("T + 1", (2, 6, 21)),
        ("20*T - 80", (1, 20, 320)),
        ("30 - T", (10, 25, 29)),
        ("B*T", (2, 15, 80)),
    ],
)
def test_a_profile_holds_every_size_of_an_expression(dim: Dim, expected: tuple[int, int, int]) -> None:
    profile = {"T": Range(min=1, opt=5, max=20), "B": Range(min=2, opt=3, max=4)}
    (found,) = ranges_of(profile, TensorSpec(name="x", dtype="float32", dims=(dim,)))
    assert (found.min, found.opt, found.max) == expected
