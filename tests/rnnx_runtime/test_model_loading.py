"""Opening whole models: on ONNX Runtime, and every file that is refused."""

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
from rnnx_runtime import BackendUnavailable, ContractError, FileDamagedError, load
from rnnx_runtime.backends.onnxruntime import open_session
from rnnx_runtime.contract import Contract, TensorSpec
from rnnx_runtime.contract_json import json_from_contract
from rnnx_runtime.files.model_file import read_model
from rnnx_runtime.files.seal import sealed

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


class FakeCuda:
    """A backend that runs nothing."""

    def __init__(self, session: Any, contract: Contract, device: str) -> None:
        self.device = device

    def close(self) -> None: ...


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
    with load(path, "ort-cpu") as session:
        assert (session.spec, session.backend, session.device) == (CONTRACT, "ort-cpu", "CPU")
        outputs, state = session.run({name: feeds[name] for name in ("x", "lengths", "mask")}, {"h0": feeds["h0"]})
    np.testing.assert_allclose(outputs["output"], truth["output"], atol=1e-6)
    np.testing.assert_array_equal(outputs["label"], truth["label"])
    np.testing.assert_allclose(state["h0"], truth["hn"], atol=1e-6)


def test_many_threads_share_a_session(path: Path) -> None:
    inputs = {name: value for name, value in example_of(50, 4).items() if name != "h0"}
    with load(path, "ort-cpu") as session, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: session.run(inputs)[1]["h0"], range(64)))
    for value in found:
        np.testing.assert_array_equal(value, found[0])


def test_what_onnxruntime_refuses_in_a_run_is_a_backend_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with load(path, "ort-cpu") as session:
        feeds = example_of()
        feeds["x"] = feeds["x"][..., :2]
        with pytest.raises(rnnx_runtime.BackendError, match="ONNX Runtime run"):
            session._backend.run(feeds)


def test_shape_arithmetic_may_stay_on_the_cpu_beside_a_gpu(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def opened(name: str, model: Any, options: Any, *, cpu_operators: Any = ()) -> Any:
        seen.update(name=name, cpu_operators=cpu_operators)
        return open_session("ort-cpu", model, options)[0], "Fake GPU"

    monkeypatch.setattr("rnnx_runtime.backends.onnxruntime.open_session", opened)
    monkeypatch.setattr("rnnx_runtime.backends.onnxruntime.OnnxRuntimeCudaBackend", FakeCuda)
    with load(path, "ort-cuda") as session:
        assert (session.backend, session.device) == ("ort-cuda", "Fake GPU")
    assert {"Shape", "Gather", "Concat"} <= {*seen["cpu_operators"]}
    assert not {"MatMul", "Gemm", "Conv", "LSTM", "GRU", "RNN", "Softmax", "Loop", "Scan"} & {*seen["cpu_operators"]}


def test_load_opens_every_kind_of_model(path: Path, tmp_path: Path) -> None:
    rnnx.export(nn.GRU(3, 4), tmp_path / "layer.onnx")
    with load(path, "ort-cpu") as whole, load(tmp_path / "layer.onnx", "ort-cpu") as layer:
        assert whole.spec.bare is None
        assert layer.spec.bare is not None
        assert layer.spec.bare.cell == "gru"


@pytest.mark.parametrize("size", [0, 10, 500, -1])
def test_a_truncated_file_is_refused(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises((ContractError, FileDamagedError)):
        load(path)


def test_a_changed_byte_is_refused(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(FileDamagedError, match="sealed"):
        load(path)


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
    path.write_bytes(sealed_bytes(json_from_contract(replace(CONTRACT, **specs))))  # type: ignore[arg-type]
    with pytest.raises(ContractError, match=r"inputs|outputs"):
        load(path, "ort-cpu")


def test_an_expression_of_an_output_is_the_graphs_own_affair(path: Path) -> None:
    outputs = (replace(CONTRACT.outputs[0], dims=("B", "2*T - T", WIDTH)), *CONTRACT.outputs[1:])
    path.write_bytes(sealed_bytes(json_from_contract(replace(CONTRACT, outputs=outputs))))
    load(path, "ort-cpu").close()


def test_a_malformed_contract_is_refused(path: Path) -> None:
    path.write_bytes(sealed_bytes({**json_from_contract(CONTRACT), "states": 5}))
    with pytest.raises(ContractError, match="contract of"):
        load(path)


def test_other_suffixes_backends_and_missing_sidecars_are_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(FileDamagedError, match="suffix"):
        load(tmp_path / "model.bin")
    with pytest.raises(BackendUnavailable, match="an unknown name"):
        load(path, "onnx")  # type: ignore[arg-type]
    with pytest.raises(BackendUnavailable, match=r"a \.plan file"):
        load(path, "tensorrt")
    (tmp_path / "model.plan").write_bytes(b"plan")
    with pytest.raises(ContractError, match="no sidecar"):
        read_model(tmp_path / "model.plan")


def test_a_resealed_file_of_another_schema_is_refused(path: Path) -> None:
    path.write_bytes(sealed(path.read_bytes().replace(b'"schema": 3', b'"schema": 2', 1)))
    with pytest.raises(ContractError, match="got schema 2, expected schema 3; export the model again"):
        load(path)
