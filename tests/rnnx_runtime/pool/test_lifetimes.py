"""Pools under signals, interrupts and exits, each in a process of its own, at a size for every run."""

import subprocess
import sys
from pathlib import Path

import pytest

LIFETIMES = Path(__file__).parents[3] / "benchmarks" / "pool_lifetimes.py"


@pytest.mark.slow
def test_forty_pools_end_with_their_own_exit_codes() -> None:
    command = [sys.executable, str(LIFETIMES), "--pools", "40", "--no-write"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "40 of 40 pools ended with their exit code" in result.stdout
