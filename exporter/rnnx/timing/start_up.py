"""Import time, load time, first call and peak memory of each backend, each in fresh processes of its own."""

import dataclasses
import json
import signal
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rnnx.progress import ProgressListener, stage
from rnnx.runners.row_names import PYTORCH_ROWS
from rnnx.runners.sources import Sources
from rnnx.runners.subject import Subject
from rnnx.timing.figures import StartUpRow
from rnnx.timing.fingerprint import MODULES

PROCESSES = 3
"""Fresh processes for each backend; a row's figures are their medians."""

TIMEOUT_S = 120.0

_OF_CPU_S, _BYTES_A_SECOND = 8.0, 2**25
"""Seconds for ONNX Runtime on the CPU, which makes no GPU ready, and how fast it loads and runs on a slow host."""

_FIGURES = ("import_s", "load_s", "first_call_ms", "peak_mib")

# -P: never a module of the caller's folder.
_COMMAND = (sys.executable, "-P", str(Path(__file__).with_name("start_up_process.py")))


def start_up_request(
    subject: Subject, sources: Sources, row: str, sizes: Mapping[str, int], threads: int
) -> dict[str, Any]:
    """What a fresh process needs to know to open one row and to call it once at `sizes`."""
    engine = subject.engine if subject.engine and row == subject.engine.sidecar.flavor else None
    return {
        "row": row,
        "module": MODULES[row][0],
        "file": str(engine.path if engine else subject.model.path),
        "sources": _plain(sources) if row in PYTORCH_ROWS or subject.foreign else None,
        "threads": threads,
        "sizes": dict(sizes),
    }


def measure_start_up(
    requests: Sequence[Mapping[str, Any]],
    *,
    listener: ProgressListener,
    command: Sequence[str] = _COMMAND,
    timeout_s: float | None = None,
) -> list[StartUpRow]:
    """One row for each request, the backends in turns.

    Args:
        requests: one for each backend, from `start_up_request`.
        listener: is told of each process.
        command: the process, which reads a request as JSON and answers with the figures.
        timeout_s: after which a process counts as hung; it is then killed. Left out, it is what a row can need.
    """
    answers: list[list[dict[str, Any]]] = [[] for _ in requests]
    with stage(listener, "start-up", PROCESSES * len(requests)) as part_done:
        for _ in range(PROCESSES):
            for own, request in zip(answers, requests, strict=True):
                if not any("problem" in answer for answer in own):
                    own.append(_answer(command, request, timeout_s or _longest(request)))
                part_done()
    return [_row(request["row"], own) for request, own in zip(requests, answers, strict=True)]


def _longest(request: Mapping[str, Any]) -> float:
    """A file that never comes to an end, as a Loop of 2⁶² turns does, must not keep the caller."""
    if request["row"] != "ort-cpu" or "file" not in request:
        return TIMEOUT_S
    return _OF_CPU_S + Path(request["file"]).stat().st_size // _BYTES_A_SECOND


def no_start_up(backend: str, problem: str) -> StartUpRow:
    """The row of a backend that does not run, and why."""
    return StartUpRow(backend=backend, **dict.fromkeys(_FIGURES, 0.0), problem=problem)


def _plain(sources: Sources) -> dict[str, Any]:
    """The sources as JSON data; an engine has no part in them."""
    values = dataclasses.asdict(sources) | {"engine": None, "names": dict(sources.names)}
    paths = {"checkpoint": sources.checkpoint, "like": sources.like}
    return values | {name: None if path is None else str(path) for name, path in paths.items()}


def _answer(command: Sequence[str], request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
    try:
        done = subprocess.run(
            command, input=json.dumps(request).encode(), capture_output=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return {"problem": f"no answer within {timeout_s:g} s"}
    if done.returncode:
        lines = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
        return {"problem": _ending(done.returncode) + (f": {lines[-1].strip()}" if lines else "")}
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return {"problem": "no figures in its answer"}
    return answer


def _ending(code: int) -> str:
    """How a process ended that did not end well."""
    if code < 0:
        known = {member.value: member.name for member in signal.Signals}
        return f"the process died of {known.get(-code, f'signal {-code}')}"
    return f"the process ended with exit code {code}"


def _row(backend: str, answers: Sequence[Mapping[str, Any]]) -> StartUpRow:
    problem = next((answer["problem"] for answer in answers if "problem" in answer), "")
    if problem:
        return no_start_up(backend, problem)
    figures = {name: statistics.median(answer[name] for answer in answers) for name in _FIGURES}
    return StartUpRow(backend=backend, **figures)
