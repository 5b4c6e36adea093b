"""Opening whole models: on ONNX Runtime, and every file that is refused."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.whole_model import CONTRACT, WIDTH, adder_outputs, example_of, sealed_bytes, write_adder
from torch import nn

import rnnx
import rnnx_runtime
from rnnx_runtime import BackendUnavailable, ContractError, FileDamagedError, load_model
from rnnx_runtime.backend_onnxruntime import open_session
from rnnx_runtime.contract import TensorSpec
from rnnx_runtime.model_contract_json import json_from_model_contract
from rnnx_runtime.model_file import holds_whole_model, read_whole_model
from rnnx_runtime.seal import sealed

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_adder(tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


@pytest.mark.parametrize(("time", "batch"), [(1, 1), (2, 2), (9, 3)])
def test_a_model_runs_at_any_size(path: Path, time: int, batch: int) -> None:
    feeds = example_of(time, batch)
    feeds["lengths"] = np.arange(time, time - batch, -1).clip(1)
    feeds["h0"] = np.full((batch, WIDTH), 0.5, np.float32)
    truth = adder_outputs(feeds)
    with load_model(path, "ort-cpu") as session:
        assert (session.spec, session.backend, session.device) == (CONTRACT, "ort-cpu", "CPU")
        outputs, state = session.run({name: feeds[name] for name in ("x", "lengths", "mask")}, {"h0": feeds["h0"]})
    np.testing.assert_allclose(outputs["output"], truth["output"], atol=1e-6)
    np.testing.assert_array_equal(outputs["label"], truth["label"])
    np.testing.assert_allclose(state["h0"], truth["hn"], atol=1e-6)


def test_many_threads_share_a_session(path: Path) -> None:
    inputs = {name: value for name, value in example_of(50, 4).items() if name != "h0"}
    with load_model(path, "ort-cpu") as session, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: session.run(inputs)[1]["h0"], range(64)))
    for value in found:
        np.testing.assert_array_equal(value, found[0])


def test_what_onnxruntime_refuses_in_a_run_is_a_backend_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with load_model(path, "ort-cpu") as session:
        feeds = example_of()
        feeds["x"] = feeds["x"][..., :2]
        with pytest.raises(rnnx_runtime.BackendError, match="ONNX Runtime run"):
            session._backend.run(feeds)


def test_shape_arithmetic_may_stay_on_the_cpu_beside_a_gpu(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def opened(name: str, model: Any, options: Any, *, cpu_operators: Any = ()) -> Any:
        seen.update(name=name, cpu_operators=cpu_operators)
        return open_session("ort-cpu", model, options)[0], "Fake GPU"

    monkeypatch.setattr("rnnx_runtime.backend_onnxruntime.open_session", opened)
    inputs = {name: value for name, value in example_of().items() if name != "h0"}
    with load_model(path, "ort-cuda") as session:
        outputs, state = session.run(inputs)
        assert (session.backend, session.device) == ("ort-cuda", "Fake GPU")
    assert {"Shape", "Gather", "Concat"} <= {*seen["cpu_operators"]}
    assert not {"MatMul", "Gemm", "Conv", "LSTM", "GRU", "RNN", "Softmax", "Loop", "Scan"} & {*seen["cpu_operators"]}
    assert isinstance(outputs["output"], np.ndarray)
    assert isinstance(state["h0"], np.ndarray)


def test_load_and_load_model_name_each_other(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"a whole model.*load_model"):
        rnnx_runtime.load(path)
    rnnx.export(nn.GRU(3, 4), tmp_path / "layer.onnx")
    with pytest.raises(ContractError, match=r"encoder.*rnnx_runtime\.load"):
        load_model(tmp_path / "layer.onnx")
    assert [holds_whole_model(own) for own in (path, tmp_path / "layer.onnx", tmp_path / "none.onnx")] == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("size", [0, 10, 500, -1])
def test_a_truncated_file_is_refused(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises((ContractError, FileDamagedError)):
        load_model(path)


def test_a_changed_byte_is_refused(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(FileDamagedError, match="sealed"):
        load_model(path)


@pytest.mark.parametrize(
    "specs",
    [
        pytest.param({"inputs": (*CONTRACT.inputs[:2], *CONTRACT.inputs[3:])}, id="input-missing"),
        pytest.param(
            {"inputs": (replace(CONTRACT.inputs[0], dims=("B", "T", 4)), *CONTRACT.inputs[1:])}, id="input-size"
        ),
        pytest.param(
            {"inputs": (replace(CONTRACT.inputs[0], dtype="float64"), *CONTRACT.inputs[1:])}, id="input-dtype"
        ),
        pytest.param(
            {"outputs": (replace(CONTRACT.outputs[0], dims=("B", "T")), *CONTRACT.outputs[1:])}, id="output-rank"
        ),
        pytest.param(
            {"outputs": (replace(CONTRACT.outputs[0], dims=("B", "T", 4)), *CONTRACT.outputs[1:])}, id="output-size"
        ),
        pytest.param({"outputs": CONTRACT.outputs[1:]}, id="output-missing"),
    ],
)
def test_a_contract_that_is_not_the_graphs_is_refused(path: Path, specs: dict[str, tuple[TensorSpec, ...]]) -> None:
    path.write_bytes(sealed_bytes(json_from_model_contract(replace(CONTRACT, **specs))))  # type: ignore[arg-type]
    with pytest.raises(ContractError, match=r"inputs|outputs"):
        load_model(path, "ort-cpu")


def test_an_expression_of_an_output_is_the_graphs_own_affair(path: Path) -> None:
    outputs = (replace(CONTRACT.outputs[0], dims=("B", "2*T - T", WIDTH)), *CONTRACT.outputs[1:])
    path.write_bytes(sealed_bytes(json_from_model_contract(replace(CONTRACT, outputs=outputs))))
    load_model(path, "ort-cpu").close()


def test_a_malformed_contract_is_refused(path: Path) -> None:
    path.write_bytes(sealed_bytes({**json_from_model_contract(CONTRACT), "states": 5}))
    with pytest.raises(ContractError, match="contract of"):
        load_model(path)


def test_other_suffixes_backends_and_missing_sidecars_are_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(FileDamagedError, match="suffix"):
        load_model(tmp_path / "model.bin")
    with pytest.raises(BackendUnavailable, match="an unknown name"):
        load_model(path, "onnx")  # type: ignore[arg-type]
    with pytest.raises(BackendUnavailable, match=r"a \.plan file"):
        load_model(path, "tensorrt")
    (tmp_path / "model.plan").write_bytes(b"plan")
    with pytest.raises(ContractError, match="no sidecar"):
        read_whole_model(tmp_path / "model.plan")
    assert not holds_whole_model(tmp_path / "model.plan")


def test_a_resealed_file_with_the_wrong_form_is_refused(path: Path) -> None:
    data = path.read_bytes().replace(json.dumps("model").encode(), json.dumps("modem").encode(), 1)
    path.write_bytes(sealed(data))
    with pytest.raises(ContractError):
        load_model(path)
    with pytest.raises(ContractError):
        rnnx_runtime.load(path)
