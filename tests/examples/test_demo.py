"""The demo, `make demo`'s own program, on the models that ship."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.tensorrt
def test_the_demo_builds_every_engine_and_no_row_fails() -> None:
    done = subprocess.run([sys.executable, ROOT / "examples/demo.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"\.plan: .+ built in", done.stderr)) == 6
    rows = [line.split() for line in done.stdout.splitlines() if line.strip().startswith("g2p-")]
    assert len(rows) == 36
    for backend in ("ort-cpu", "tensorrt-network"):
        assert [row[3] for row in rows if row[2] == backend] == ["pass"] * 6
    assert len(list((ROOT / "build/demo").glob("*.html"))) == 6
    assert not any(row[3] == "fail" for row in rows)
