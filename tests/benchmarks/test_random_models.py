"""The random models that benchmarks/random_models.py draws: each runs in PyTorch, and no file of them is wrong.

A dozen are exported here, and 500 by `python benchmarks/random_models.py`, whose results are held here too.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

pytestmark = pytest.mark.slow


def _called(*options: str) -> str:
    command = [sys.executable, str(BENCHMARKS / "random_models.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(_called("--cases", "12", "--json"))
    return found


def test_no_file_is_wrong_and_most_models_are_exported(rows: list[dict[str, Any]]) -> None:
    assert [row["seed"] for row in rows] == list(range(12))
    assert not [row for row in rows if row["verdict"] in ("wrong", "void")]
    assert sum(row["verdict"] in ("right", "narrow") for row in rows) >= 8


def test_a_refusal_names_a_line_or_an_input(rows: list[dict[str, Any]]) -> None:
    refused = [row["detail"] for row in rows if row["verdict"] == "refused"]
    assert all("line " in detail or "input " in detail or "; " in detail for detail in refused)
    assert not any("Traceback" in detail for detail in refused)


def test_a_seed_is_one_model() -> None:
    assert _called("--seed", "3", "--source") == _called("--seed", "3", "--source")


def test_what_was_measured_has_nothing_wrong() -> None:
    result = json.loads((BENCHMARKS / "results/random_models.json").read_text())
    verdicts = result["verdicts"]
    assert result["cases"] == sum(verdicts.values()) >= 500
    assert verdicts["wrong"] == verdicts["void"] == 0
    assert sum(result["reasons"]["refused"].values()) == verdicts["refused"]
