"""A command of rnnx on one file, in a fork of this process: how long it takes, what memory, and what it says.

Whatever the fork loads counts towards its memory, so what a sound file takes is measured the same way first.
"""

import json
import os
import resource
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

KILLED_S = 40.0
"""Seconds after which a command is ended."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a command: its exit code (None where it was ended), the last line that it said, and its cost.

    `peak_bytes` is the memory that it took beyond what its process began with, `children_bytes` the most that one of
    its own processes had. `cpu_s` is the time of processors that it and its processes took, which others' work on the
    machine does not change.
    """

    code: int | None
    message: str
    seconds: float
    cpu_s: float
    peak_bytes: int
    children_bytes: int


def outcome_of(arguments: list[str], folder: Path) -> Outcome:
    """Run `rnnx` with these arguments; `folder` is where what it says is kept meanwhile."""
    said, cost = folder / "said.txt", folder / "cost.json"
    cost.unlink(missing_ok=True)
    start = time.perf_counter()
    child = os.fork()
    if child == 0:
        _run(arguments, said, cost)
    code, cpu_s = _ended(child, start + KILLED_S)
    seconds = time.perf_counter() - start
    figures = json.loads(cost.read_text()) if cost.exists() else {"peak": 0, "children": 0}
    lines = [line for line in said.read_text(errors="replace").splitlines() if line.strip()]
    return Outcome(
        code=code,
        message=lines[-1] if lines else "",
        seconds=seconds,
        cpu_s=cpu_s,
        peak_bytes=figures["peak"],
        children_bytes=figures["children"],
    )


def _run(arguments: list[str], said: Path, cost: Path) -> None:
    """The fork's own part, which does not return."""
    code = 70
    try:
        os.setsid()
        output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        first = _status("VmRSS")
        code = _command(arguments)
        children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        cost.write_text(json.dumps({"peak": max(0, _status("VmHWM") - first), "children": children}))
    except BaseException:  # nothing of the fork may go on in its parent's place
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _command(arguments: list[str]) -> int:
    from rnnx.cli import main

    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    sys.argv = ["rnnx", *arguments]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def _ended(child: int, deadline: float) -> tuple[int | None, float]:
    while time.perf_counter() < deadline:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
        time.sleep(0.005)
    os.killpg(child, signal.SIGKILL)
    usage = os.wait4(child, 0)[2]
    return None, usage.ru_utime + usage.ru_stime
