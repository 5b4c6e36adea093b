"""ONNX Runtime on CPU, the real one."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnnx_runtime
from rnnx_runtime import BackendError, BackendUnavailable, ContractError
from rnnx_runtime.backend_onnxruntime import open_backend
from rnnx_runtime.model_file import OnnxFile, read_onnx
from rnnx_runtime.session_options import SessionOptions

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
nn = pytest.importorskip("torch.nn", reason="torch is not installed")
rnnx = pytest.importorskip("rnnx")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small LSTM as .onnx."""
    return Path(rnnx.export(nn.LSTM(3, 4), tmp_path_factory.mktemp("encoder") / "lstm.onnx").path)


def test_ort_cpu_says_cpu_and_gives_arrays_of_its_own(encoder: Path) -> None:
    x = np.ones((5, 2, 3), np.float32)
    with rnnx_runtime.load(encoder, "ort-cpu") as session:
        output, state = session.run(x)
        before = output.copy(), state.h.copy()
        session.run(-x)
    assert session.device == "CPU"
    np.testing.assert_array_equal(output, before[0])
    np.testing.assert_array_equal(state.h, before[1])


def test_inputs_in_any_memory_order_are_read_as_they_are(encoder: Path) -> None:
    x = np.random.default_rng(0).standard_normal((3, 6, 5)).astype(np.float32).T
    with rnnx_runtime.load(encoder, "ort-cpu") as session:
        strided, _ = session.run(x)
        plain, _ = session.run(np.ascontiguousarray(x))
    np.testing.assert_array_equal(strided, plain)


def test_a_failing_run_is_one_error_and_prints_nothing(encoder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    backend = open_backend("ort-cpu", read_onnx(encoder), SessionOptions())
    wrong = {name: np.ones((1, 1, 99), np.float32) for name in ("x", "h0", "c0")}
    with pytest.raises(BackendError, match=r"ONNX Runtime run: got .*x.*99") as caught:
        backend.run(wrong)
    assert caught.value.__cause__ is not None
    assert capfd.readouterr() == ("", "")


def test_a_graph_that_cannot_load_is_one_error_and_prints_nothing(
    encoder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = replace(read_onnx(encoder), data=b"not a graph")
    with pytest.raises(BackendError, match=r"ONNX Runtime \S+ loading lstm\.onnx"):
        open_backend("ort-cpu", model, SessionOptions())
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"hidden_size": 5, "projection_size": 5}, r"inputs of .+lstm\.onnx: got .+\(1, B, 4\)", id="size"),
        pytest.param({"lengths": True}, r"inputs of .+expected .+lengths int32 \(B,\)", id="missing-input"),
        pytest.param({"state_inputs": False}, r"inputs of .+expected x float32 \(T, B, 3\);", id="extra-input"),
        pytest.param({"batch_first": True}, r"inputs of .+got x float32 \(T, B, 3\).+\(B, T, 3\)", id="batch-first"),
    ],
)
def test_a_graph_unlike_its_contract_is_refused(encoder: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        open_backend("ort-cpu", _with_contract(encoder, **changes), SessionOptions())


def _with_contract(path: Path, **changes: Any) -> OnnxFile:
    model = read_onnx(path)
    return replace(model, contract=replace(model.contract, **changes))


@pytest.mark.parametrize(("name", "extra"), [("ort-cpu", "cpu"), ("ort-cuda", "gpu")])
def test_a_missing_package_names_the_pip_command(
    encoder: Path, monkeypatch: pytest.MonkeyPatch, name: rnnx_runtime.BackendName, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendUnavailable, match=rf"no onnxruntime package.+pip install 'rnnx\[{extra}\]'"):
        rnnx_runtime.load(encoder, name)


def test_a_package_that_cannot_load_its_own_parts_says_which(
    encoder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('libpart.so: cannot open shared object file')\n")
    monkeypatch.delitem(sys.modules, "onnxruntime")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BackendUnavailable, match=r"broken onnxruntime package \(libpart\.so.+--force-reinstall"):
        rnnx_runtime.load(encoder, "ort-cpu")


def test_the_cpu_package_is_not_enough_for_cuda(encoder: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("onnxruntime-gpu is installed")
    with pytest.raises(BackendUnavailable, match=r"a build without CUDA.+pip install 'rnnx\[gpu\]'"):
        rnnx_runtime.load(encoder, "ort-cuda")


def test_the_real_library_reports_where_nodes_run_as_the_cuda_check_reads_it(encoder: Path) -> None:
    import onnxruntime

    if not hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info"):
        pytest.skip(f"onnxruntime {onnxruntime.__version__} is older than 1.24")
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    session = onnxruntime.InferenceSession(str(encoder), options, providers=["CPUExecutionProvider"])
    placed = [
        (group.ep_name, node.op_type)
        for group in session.get_provider_graph_assignment_info()
        for node in group.get_nodes()
    ]
    assert ("CPUExecutionProvider", "LSTM") in placed
