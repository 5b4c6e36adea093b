"""Many forged files, read in processes that may die, each of them accounted for."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[4]

SILENCE_SECONDS = 120
"""After which a process that reports no file counts as hanging; a busy machine may stop for seconds."""


def outcomes(seed: int, first: int, last: int) -> Iterator[dict[str, Any]]:
    """The outcome of every file from `first` up to `last`, that one not included."""
    while first < last:
        reported = first
        for outcome in _reported(seed, first, last):
            reported = outcome["number"] + 1
            yield outcome
        if reported < last:
            yield {"number": reported, "kind": "?", "refused": "", "failure": "ended or hung the process"} | _NOTHING
            reported += 1
        first = reported


_NOTHING = {"seconds": 0.0, "peak_mib": 0, "bytes": 0}


def _reported(seed: int, first: int, last: int) -> Iterator[dict[str, Any]]:
    command = [sys.executable, "-m", "tests.rnnx.weights.forgery.confined_reading", str(seed), str(first), str(last)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        while line := _line_in_time(process):
            yield json.loads(line)


def _line_in_time(process: "subprocess.Popen[str]") -> str:
    """The next line of a process; an empty one after its end, which comes for one that is silent too long."""
    assert process.stdout is not None
    timer = threading.Timer(SILENCE_SECONDS, process.kill)
    timer.start()
    try:
        return process.stdout.readline()
    finally:
        timer.cancel()
