import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rnnx_runtime import Contract
from rnnx_runtime.backends import policy as backend_policy
from rnnx_runtime.backends.policy import default_backend
from rnnx_runtime.files.model_file import OnnxFile


@pytest.fixture
def model(contract: Contract) -> OnnxFile:
    return OnnxFile(path=Path("model.onnx"), contract=contract, data=b"", external_data=None)


@pytest.mark.parametrize(
    ("providers", "gpu", "expected"),
    [
        pytest.param(["CUDAExecutionProvider", "CPUExecutionProvider"], True, "ort-cuda", id="cuda-build-and-gpu"),
        pytest.param(["CUDAExecutionProvider", "CPUExecutionProvider"], False, "ort-cpu", id="cuda-build-alone"),
        pytest.param(["CPUExecutionProvider"], True, "ort-cpu", id="gpu-alone"),
        pytest.param(None, True, "ort-cpu", id="no-onnxruntime"),
    ],
)
def test_an_onnx_runs_on_a_gpu_where_build_and_host_have_one(
    model: OnnxFile, monkeypatch: pytest.MonkeyPatch, providers: Any, gpu: bool, expected: str
) -> None:
    fake = providers and SimpleNamespace(get_available_providers=lambda: providers)
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    monkeypatch.setattr(backend_policy, "gpu_is_present", lambda: gpu)
    assert default_backend(model) == expected
