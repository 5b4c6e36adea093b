"""The pool's soak at a size for every run: 32 threads on 500 streams of two models, 2,000 tasks, 10,000 steps."""

import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[3] / "benchmarks" / "pool_soak.py"


@pytest.mark.slow
def test_threads_and_tasks_get_right_outputs_and_nothing_is_left_behind() -> None:
    command = [sys.executable, str(SOAK), "--pushes", "2500", "--steps", "10000", "--schedules", "2", "--no-write"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count(" 80000 ") == 2  # 32 threads, 2,500 pushes each
