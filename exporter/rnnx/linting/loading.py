"""Whether a file is ONNX and loads: what no rule need tell, since ONNX's checker and ONNX Runtime say so themselves."""

import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from rnnx.linting.findings import Finding

_LONGEST_S = 60

_LOAD = """
import sys
import onnxruntime
options = onnxruntime.SessionOptions()
options.log_severity_level = 4
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
try:
    onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
except Exception as error:
    sys.exit(" ".join(str(error).split()) or type(error).__name__)
"""


def loading_findings(path: Path) -> Iterator[Finding]:
    """What ONNX's checker with strict shape inference, and ONNX Runtime where it is installed, say of a file."""
    refusal = _refused_by_onnxruntime(path) if find_spec("onnxruntime") is not None else None
    if refusal:
        yield Finding(
            rule="not-loadable",
            severity="error",
            node="the model",
            message=f"ONNX Runtime does not load it: {refusal}",
            fix="mend what it names, or export the model again",
            backends=("ort-cpu", "ort-cuda"),
        )
    invalid = "" if refusal else _refused_by_checker(path)
    if invalid:
        yield Finding(
            rule="invalid",
            severity="warning" if refusal == "" else "error",
            node="the model",
            message=f"ONNX's checker refuses it: {invalid}",
            fix="mend what it names, or export the model again",
        )


def _refused_by_onnxruntime(path: Path) -> str:
    """Its words, empty where it loads the file; in a process of its own, which a damaged file may end."""
    command = [sys.executable, "-c", _LOAD, str(path.resolve())]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_LONGEST_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no end within {_LONGEST_S} s"
    if done.returncode < 0:
        return f"it ends the process by signal {-done.returncode}"
    return _first(done.stderr) if done.returncode else ""


def _refused_by_checker(path: Path) -> str:
    import onnx

    try:
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as error:  # besides its own errors whatever its C++ raises, such as ValueError for a type of -1
        return _first(str(error))
    return ""


def _first(text: str) -> str:
    """The first line with something in it, cut where it grows beyond what a terminal shows."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "no message")
    return line if len(line) <= 300 else f"{line[:299]}…"
