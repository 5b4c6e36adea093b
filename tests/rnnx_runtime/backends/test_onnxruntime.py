"""ONNX Runtime on CPU, the real one."""

import gc
import itertools
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.contracts import changed

import rnnx_runtime
from rnnx_runtime import BackendError, BackendUnavailable, ContractError
from rnnx_runtime.backends.onnxruntime import open_backend, open_session
from rnnx_runtime.backends.session_options import SessionOptions
from rnnx_runtime.files.model_file import OnnxFile, read_onnx

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


FORMS = [
    pytest.param(nn.LSTM(3, 4, 2), rnnx.ExportOptions(), (5, 2, 3), id="lstm"),
    pytest.param(nn.GRU(3, 4, batch_first=True), rnnx.ExportOptions(), (2, 1, 3), id="gru-batch-first"),
    pytest.param(nn.LSTMCell(3, 4), rnnx.ExportOptions(), (2, 3), id="step"),
    pytest.param(nn.GRUCell(3, 4), rnnx.ExportOptions(form="unrolled", steps=1), (1, 2, 3), id="unrolled-1"),
]


@pytest.mark.parametrize(("module", "options", "shape"), FORMS)
def test_no_result_is_memory_of_another_or_of_an_argument(
    tmp_path: Path, module: Any, options: Any, shape: tuple[int, ...]
) -> None:
    path = rnnx.export(module, tmp_path / "model.onnx", options).path
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    with rnnx_runtime.load(path, "ort-cpu") as session:
        first, middle = session.run(x)
        second, last = session.run(x, middle)
        values = [x, first, second, *parts_of(middle), *parts_of(last)]
        kept = [value.copy() for value in values]
        if shape[0 if session.spec.layer().batch_first is False else 1] == 1:
            values += [session.step(x[:, 0] if session.spec.layer().batch_first else x[0], last)[0]]
        session.run(-x, last)
    gc.collect()
    assert not any(np.shares_memory(one, other) for one, other in itertools.combinations(values, 2))
    for value, before in zip(values, kept, strict=False):
        np.testing.assert_array_equal(value, before, "results outlive the session, and no later call changes them")


def parts_of(state: rnnx_runtime.State) -> list[np.ndarray[Any, Any]]:
    return [state.h] if state.c is None else [state.h, state.c]


@pytest.mark.parametrize(("module", "options", "shape"), FORMS)
def test_results_are_the_same_in_the_callers_buffers(
    tmp_path: Path, module: Any, options: Any, shape: tuple[int, ...]
) -> None:
    path = rnnx.export(module, tmp_path / "model.onnx", options).path
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    with rnnx_runtime.load(path, "ort-cpu") as session:
        output, state = session.run(x)
        buffers = {"output": np.empty_like(output), "hn": np.empty_like(state.h)}
        written, last = session.run(x, out=buffers)
    assert (written is buffers["output"], last.h is buffers["hn"]) == (True, True)
    for one, other in zip((output, *parts_of(state)), (written, *parts_of(last)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_state_updated_in_place_carries_the_same_values(encoder: Path) -> None:
    x = np.random.default_rng(0).standard_normal((7, 2, 3), np.float32)
    with rnnx_runtime.load(encoder, "ort-cpu") as session:
        output, expected = session.run(x)
        state = session.initial_state(2)
        assert state.c is not None
        y = np.empty((2, 4), np.float32)
        for now, wanted in zip(x, output, strict=True):
            _, after = session.step(now, state, out={"output": y, "hn": state.h, "cn": state.c})
            np.testing.assert_allclose(y, wanted, rtol=0, atol=1e-6)
            assert after.h is state.h
    np.testing.assert_allclose(state.h, expected.h, rtol=0, atol=1e-6)


def test_threads_share_one_session(encoder: Path) -> None:
    xs = [np.random.default_rng(seed).standard_normal((5, 2, 3), np.float32) for seed in range(8)]
    with rnnx_runtime.load(encoder, "ort-cpu") as session, ThreadPoolExecutor(8) as threads:
        alone = [session.run(x)[0] for x in xs]
        for _ in range(20):
            for output, expected in zip(threads.map(lambda x: session.run(x)[0], xs), alone, strict=True):
                np.testing.assert_array_equal(output, expected)


def test_options_reach_onnx_runtime(encoder: Path) -> None:
    options = SessionOptions(threads=2, spinning=False)
    session, _ = open_session("ort-cpu", read_onnx(encoder), options)
    there = session.get_session_options()
    assert (there.intra_op_num_threads, there.inter_op_num_threads) == (2, 1)
    assert there.get_session_config_entry("session.intra_op.allow_spinning") == "0"


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
    return replace(model, contract=changed(model.contract, **changes))


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
