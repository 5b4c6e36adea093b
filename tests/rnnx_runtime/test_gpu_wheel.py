"""The real onnxruntime-gpu on a machine without a GPU: it runs on CPU in silence, and rnnx says so and refuses."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

import rnnx
from rnnx.truths.golden import golden_path, read_golden
from rnnx_runtime.files.model_file import read_onnx

pytestmark = pytest.mark.slow

PLAIN = """
import json, sys, warnings
import onnxruntime
warnings.simplefilter("error")
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CUDAExecutionProvider"], enable_fallback=0)
print(json.dumps({
    "available": onnxruntime.get_available_providers(),
    "device": onnxruntime.get_device(),
    "session": session.get_providers(),
}))
"""

REFUSED = """
import json, sys
import rnnx_runtime, rnnx_runtime.backends.onnxruntime as backend, rnnx_runtime.backends.cuda_provider as provider
{change}
try:
    rnnx_runtime.load(sys.argv[1], "ort-cuda")
except rnnx_runtime.BackendUnavailable as error:
    print(json.dumps({{"got": error.got, "message": str(error)}}))
"""

RUN_ON_CPU = """
import json, sys
import numpy as np, rnnx_runtime
feeds = np.load(sys.argv[2])
with rnnx_runtime.load(sys.argv[1], "ort-cpu") as session:
    output, state = session.run(feeds["x"], rnnx_runtime.State(feeds["h0"], feeds["c0"]))
print(json.dumps({"device": session.device, "output": output.tolist(), "hn": state.h.tolist(), "cn": state.c.tolist()}))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small LSTM as .onnx."""
    return rnnx.export(nn.LSTM(3, 4), tmp_path_factory.mktemp("model") / "lstm.onnx").path


def test_plain_onnxruntime_asked_for_cuda_runs_on_cpu_without_an_exception(gpu_python: Path, model: Path) -> None:
    found, _ = _run(gpu_python, PLAIN, model)
    assert "CUDAExecutionProvider" in found["available"]
    assert found["device"] == "GPU"
    assert found["session"] == ["CPUExecutionProvider"]


def test_ort_cuda_is_refused_with_the_cuda_error_and_prints_nothing(gpu_python: Path, model: Path) -> None:
    found, printed = _run(gpu_python, REFUSED.format(change=""), model)
    assert re.fullmatch(r"cudaError\w+ \(\d+\), .+", found["got"])
    assert printed == ""


def test_a_missing_cuda_library_is_named_and_nothing_printed(gpu_python: Path, model: Path) -> None:
    found, printed = _run(gpu_python, REFUSED.format(change="provider.device_count = lambda: 1"), model)
    assert re.fullmatch(r"lib\w+\.so\.\d+: cannot open shared object file: .+", found["got"])
    assert printed == ""


def test_the_session_check_alone_catches_the_fallback(gpu_python: Path, model: Path) -> None:
    found, _ = _run(gpu_python, REFUSED.format(change="backend.require_cuda = lambda *arguments: None"), model)
    assert found["got"] == "a session on CPUExecutionProvider"


def test_ort_cpu_runs_with_the_gpu_package(gpu_python: Path, model: Path, tmp_path: Path) -> None:
    golden = read_golden(golden_path(model), read_onnx(model).contract)[-1]
    np.savez(tmp_path / "feeds.npz", **golden.case.feeds)  # type: ignore[arg-type] # allow_pickle is a keyword too
    found, printed = _run(gpu_python, RUN_ON_CPU, model, tmp_path / "feeds.npz")
    assert found.pop("device") == "CPU"
    for name, value in golden.truth.items():
        np.testing.assert_allclose(found[name], value, atol=1e-6, err_msg=name)
    assert printed == ""


def test_verify_skips_the_cuda_row_with_its_reason_and_passes(gpu_python: Path, model: Path, tmp_path: Path) -> None:
    done, report = _verify(gpu_python, model, tmp_path / "report.json")
    rows = {row["backend"]: row for row in report["parity"]["rows"]}
    assert done.returncode == 0, done.stderr
    assert rows["ort-cpu"]["status"] == "pass"
    assert rows["ort-cuda"]["status"] == "skip"
    assert rows["ort-cuda"]["outputs"] == []
    assert re.search(r"cudaError\w+ \(\d+\)", rows["ort-cuda"]["reason"])


def test_require_turns_the_cuda_skip_into_a_failure(gpu_python: Path, model: Path, tmp_path: Path) -> None:
    done, report = _verify(gpu_python, model, tmp_path / "report.json", "--require", "ort-cuda")
    assert done.returncode == 1
    assert {row["backend"]: row["status"] for row in report["parity"]["rows"]}["ort-cuda"] == "fail"


def _verify(
    python: Path, model: Path, report: Path, *options: str
) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """`rnnx verify` against the golden file, in the environment with the GPU package."""
    program = "from rnnx.cli import main; main()"
    files = (str(model), "--json", str(report))
    call = [str(python), "-c", program, "verify", "--no-latency", *files, *options]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    data: dict[str, Any] = json.loads(report.read_text())
    return done, data


def _run(python: Path, script: str, *arguments: Path) -> tuple[dict[str, Any], str]:
    """What a script prints as JSON, and what it wrote to stderr."""
    done = subprocess.run([python, "-c", script, *arguments], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found, done.stderr
