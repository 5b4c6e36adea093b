import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rnnx_runtime import Contract, ContractError, FileDamagedError
from rnnx_runtime.sidecar import Range, Sidecar, check_plan, read_sidecar, sidecar_path, text_from_sidecar

PLAN = b"ftrt plan bytes"


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
    path.write_text(json.dumps(change(json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8")


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


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[]", b"null", b'{"schema": 2}'])
def test_a_sidecar_that_is_no_sidecar_is_refused(plan: Path, content: bytes) -> None:
    sidecar_path(plan).write_bytes(content)
    with pytest.raises(
        ContractError, match=r"model\.plan\.json: got .*; build the engine again with rnnx build-engine"
    ):
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
        pytest.param({"profiles": [{"B": {"min": 0, "opt": 1, "max": 2}}]}, id="range-zero"),
        pytest.param({"profiles": [{"B": {"min": 1, "opt": 3, "max": 2}}]}, id="range-out-of-order"),
        pytest.param({"profiles": [{"B": {"min": 1, "opt": 1.5, "max": 2}}]}, id="range-fraction"),
        pytest.param({"profiles": [{"B": {"min": 1, "opt": "1", "max": 2}}]}, id="range-text"),
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
