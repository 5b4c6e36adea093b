"""The files of packages that benchmarks/foreign_files.py adopts: what was written down, and one of them done again."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
ROWS: list[dict[str, Any]] = json.loads((BENCHMARKS / "results" / "foreign_files.json").read_text())["rows"]


def test_every_file_is_adopted_and_states_stream_as_by_hand() -> None:
    assert len(ROWS) >= 15
    assert {row["verdict"] for row in ROWS} == {"adopted"}
    stateful = [row for row in ROWS if row["states"]]
    assert len(stateful) >= 10
    assert all(row["streaming"] == "exact" and row["streamed_error"] < 1e-5 for row in stateful)


def test_the_table_is_what_was_measured() -> None:
    command = [sys.executable, str(BENCHMARKS / "foreign_files.py"), "--markdown"]
    table = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert table in (ROOT / "docs" / "foreign-files.md").read_text(encoding="utf-8")


def test_the_readme_counts_them() -> None:
    parsed = [row["network"]["max_error"] for row in ROWS if row["network"]["verdict"] == "pass"]
    packages = {row["package"] for row in ROWS}
    told = (
        f"Of {len(ROWS)} recurrent files that {len(packages)} public packages ship all are adopted, "
        f"{sum(bool(row['states']) for row in ROWS)} have states and stream as by hand, TensorRT's importer reads "
        f"{len(parsed)} and means the same to {max(parsed):.0e}, and "
        f"{sum(row['engine']['verdict'] == 'built' for row in ROWS)} build an engine"
    )
    assert told in " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())


@pytest.mark.slow
def test_a_downloaded_file_is_adopted_again() -> None:
    command = [sys.executable, str(BENCHMARKS / "foreign_files.py"), "--file", "silero-vad half", "--seconds", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "No matching distribution" in done.stderr:
        pytest.skip("the package cannot be downloaded here")
    assert done.returncode == 0, done.stderr
    row = json.loads(next(line for line in done.stderr.splitlines() if line.startswith("{")))
    assert row["states"] == ["state → stateN (graph: LSTM '/decoder/rnn/LSTM')"]
    assert row["streamed_error"] < 1e-5
    assert row["network"]["verdict"] == "pass"
