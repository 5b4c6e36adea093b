import hashlib
import json
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from tests.contracts import changed
from torch import nn

import rnnx
import rnnx_runtime
from rnnx_runtime import (
    BackendError,
    BackendName,
    BackendUnavailable,
    Contract,
    ContractError,
    FileDamagedError,
    InputError,
    loading,
)
from rnnx_runtime.backends import policy as backend_policy
from rnnx_runtime.backends.policy import default_backend
from rnnx_runtime.backends.session_options import SessionOptions
from rnnx_runtime.backends.table import Backend, open_backend
from rnnx_runtime.contract_json import json_from_contract
from rnnx_runtime.files.model_file import ModelFile, read_onnx, read_plan
from rnnx_runtime.files.seal import BLANK, SEAL_KEY, seal_offset
from rnnx_runtime.files.sidecar import Flavor, Range, Sidecar, sidecar_path, text_from_sidecar

SEED = 20262


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(SEED)
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    rnnx.export(nn.LSTM(3, 5), path)
    return path


def write_sealed(path: Path, model: onnx.ModelProto, contract: Contract) -> None:
    helper.set_model_props(model, {"rnnx": json.dumps({**json_from_contract(contract), SEAL_KEY: BLANK})})
    data = model.SerializeToString(deterministic=True)
    start, digest = seal_offset(data), hashlib.sha256(data).hexdigest().encode()
    path.write_bytes(data[:start] + digest + data[start + len(digest) :])


def write_plan(path: Path, contract: Contract, flavor: Flavor) -> None:
    path.write_bytes(b"plan")
    free = {dim for spec in contract.inputs for dim in spec.dims if isinstance(dim, str)}
    sidecar = Sidecar(
        contract=contract,
        flavor=flavor,
        version="10.13.0",
        targets=("8.9",),
        tf32=False,
        profiles=({dim: Range(min=1, opt=2, max=3) for dim in free},),
        plan_sha256=hashlib.sha256(b"plan").hexdigest(),
        onnx_sha256="cd" * 32,
    )
    sidecar_path(path).write_text(text_from_sidecar(sidecar), encoding="utf-8")


@pytest.mark.parametrize("kind", [str, Path])
def test_a_model_opens_by_text_or_path(exported: Path, kind: type[str | Path]) -> None:
    with rnnx_runtime.load(kind(exported), "ort-cpu") as session:
        assert session.device == "CPU"
        assert session.run(np.zeros((2, 1, 3), np.float32))[0].shape == (2, 1, 5)


@pytest.mark.parametrize("backend", ["cuda", "ORT-CPU", "", "onnxruntime"])
def test_an_unknown_backend_is_refused(exported: Path, backend: Any) -> None:
    with pytest.raises(BackendUnavailable) as caught:
        rnnx_runtime.load(exported, backend)
    assert str(caught.value) == (
        f"backend {backend!r}: got an unknown name, expected ort-cpu | ort-cuda | tensorrt | tensorrt-rtx; "
        "choose one of these"
    )


@pytest.mark.parametrize("options", [{"threads": 0}, {"spinning": 1}])
def test_an_option_with_a_value_it_cannot_have_is_refused_before_the_file_is_read(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"^{next(iter(options))}: got "):
        rnnx_runtime.load("gone.onnx", **options)


def test_options_reach_the_backend(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[SessionOptions] = []

    def opened(name: BackendName, model: ModelFile, options: SessionOptions) -> Backend:
        given.append(options)
        return open_backend(name, model, options)

    monkeypatch.setattr(loading, "open_backend", opened)
    changed: dict[str, Any] = {"threads": 2, "spinning": False}
    rnnx_runtime.load(exported, "ort-cpu").close()
    rnnx_runtime.load(exported, "ort-cpu", **changed).close()
    assert given == [SessionOptions(), SessionOptions(**changed)]


def test_more_threads_give_the_same_results(exported: Path) -> None:
    x = np.random.default_rng(SEED).standard_normal((4, 2, 3), np.float32)
    with rnnx_runtime.load(exported) as one, rnnx_runtime.load(exported, threads=2) as two:
        np.testing.assert_allclose(one.run(x)[0], two.run(x)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("backend", ["tensorrt", "tensorrt-rtx"])
def test_an_onnx_file_on_an_engine_backend_is_refused(exported: Path, backend: Any) -> None:
    with pytest.raises(BackendUnavailable) as caught:
        rnnx_runtime.load(exported, backend)
    assert str(caught.value) == (
        f"backend {backend}: got model.onnx, expected a .plan file; name the matching file or another backend"
    )


@pytest.mark.parametrize("backend", ["ort-cpu", "ort-cuda"])
def test_a_plan_on_onnx_runtime_is_refused(tmp_path: Path, contract: Contract, backend: Any) -> None:
    write_plan(tmp_path / "model.plan", contract, "tensorrt")
    with pytest.raises(BackendUnavailable, match=rf"backend {backend}: got model\.plan, expected an \.onnx file; "):
        rnnx_runtime.load(tmp_path / "model.plan", backend)


@pytest.mark.parametrize("flavor", ["tensorrt", "tensorrt-rtx"])
def test_a_plan_runs_on_the_library_that_built_it(tmp_path: Path, contract: Contract, flavor: Flavor) -> None:
    write_plan(tmp_path / "model.plan", contract, flavor)
    assert default_backend(read_plan(tmp_path / "model.plan")) == flavor


class Host:
    """A host whose GPU is `gpu`, with a CUDA build of ONNX Runtime; `opened` is what was tried, in order."""

    def __init__(self) -> None:
        self.gpu: Literal["none", "broken", "works"] = "none"
        self.opened: list[str] = []

    def open_backend(self, name: BackendName, model: ModelFile, options: SessionOptions) -> Backend:
        self.opened.append(name)
        if name in ("tensorrt", "tensorrt-rtx") or (name == "ort-cuda" and self.gpu != "works"):
            raise BackendUnavailable(f"backend {name}", got="no cuDNN", expected="it", remedy="install it")
        return open_backend("ort-cpu", model, options)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host()
    monkeypatch.setattr(backend_policy, "_is_cuda_build", lambda: True)
    monkeypatch.setattr(backend_policy, "gpu_is_present", lambda: host.gpu != "none")
    monkeypatch.setattr(loading, "open_backend", host.open_backend)
    return host


@pytest.mark.parametrize(
    ("gpu", "named", "allow_fallback", "opened"),
    [
        pytest.param("none", None, False, ["ort-cpu"], id="no-gpu"),
        pytest.param("works", None, False, ["ort-cuda"], id="gpu"),
        pytest.param("works", "ort-cuda", True, ["ort-cuda"], id="gpu-named"),
        pytest.param("works", "ort-cpu", False, ["ort-cpu"], id="cpu-named"),
    ],
)
def test_an_onnx_runs_where_the_policy_says(
    exported: Path, host: Host, gpu: Any, named: Any, allow_fallback: bool, opened: list[str]
) -> None:
    host.gpu = gpu
    with rnnx_runtime.load(exported, named, allow_fallback=allow_fallback) as session:
        assert session.backend == opened[-1]
    assert host.opened == opened


@pytest.mark.parametrize(
    ("gpu", "named"), [("broken", None), ("broken", "ort-cuda"), ("none", "ort-cuda")], ids=["found", "named", "absent"]
)
def test_a_gpu_that_was_meant_and_cannot_run_is_an_error(exported: Path, host: Host, gpu: Any, named: Any) -> None:
    host.gpu = gpu
    with pytest.raises(BackendUnavailable, match="backend ort-cuda: got no cuDNN"):
        rnnx_runtime.load(exported, named)
    assert host.opened == ["ort-cuda"]


@pytest.mark.parametrize("named", [None, "ort-cuda"])
def test_a_fallback_that_is_allowed_is_said_once_with_its_reason(exported: Path, host: Host, named: Any) -> None:
    host.gpu = "broken"
    with pytest.warns(RuntimeWarning, match=r"model\.onnx runs on ort-cpu: backend ort-cuda: got no cuDNN") as caught:
        session = rnnx_runtime.load(exported, named, allow_fallback=True)
    assert session.backend == "ort-cpu"
    assert [warning.filename for warning in caught] == [__file__]
    session.close()


def test_a_plan_never_falls_back(tmp_path: Path, contract: Contract, host: Host) -> None:
    write_plan(tmp_path / "model.plan", contract, "tensorrt")
    with pytest.raises(BackendUnavailable) as caught:
        rnnx_runtime.load(tmp_path / "model.plan", allow_fallback=True)
    assert caught.value.remedy == (
        "install it; a plan never falls back: load the .onnx it was built from to run on a CPU"
    )
    assert host.opened == ["tensorrt"]


def test_an_onnx_on_an_engine_does_not_fall_back(exported: Path, host: Host) -> None:
    with pytest.raises(BackendUnavailable, match="backend tensorrt: got no cuDNN"):
        rnnx_runtime.load(exported, "tensorrt", allow_fallback=True)
    assert host.opened == ["tensorrt"]


@pytest.mark.parametrize(("backend", "extra"), [("ort-cpu", "cpu"), ("ort-cuda", "gpu")])
def test_a_missing_onnxruntime_names_the_pip_command(
    exported: Path, monkeypatch: pytest.MonkeyPatch, backend: Any, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendUnavailable) as caught:
        rnnx_runtime.load(exported, backend)
    assert str(caught.value) == (
        f"backend {backend}: got no onnxruntime package, expected it installed; pip install 'rnnx[{extra}]'"
    )


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileDamagedError, match=r"gone\.onnx: got No such file or directory, expected a readable file"):
        rnnx_runtime.load(tmp_path / "gone.onnx")


@pytest.mark.parametrize(
    ("changes", "side"),
    [
        pytest.param({"hidden_size": 6, "projection_size": 6}, "inputs", id="hidden"),
        pytest.param({"cell": "gru"}, "inputs", id="cell"),
        pytest.param({"batch_first": True}, "inputs", id="batch-first"),
        pytest.param({"lengths": True}, "inputs", id="lengths"),
        pytest.param({"state_inputs": False}, "inputs", id="no-state"),
    ],
)
def test_a_graph_that_its_contract_does_not_describe_is_refused(
    tmp_path: Path, exported: Path, changes: dict[str, Any], side: str
) -> None:
    contract = changed(read_onnx(exported).contract, **changes)
    write_sealed(tmp_path / "model.onnx", onnx.load(exported), contract)
    with pytest.raises(ContractError) as caught:
        rnnx_runtime.load(tmp_path / "model.onnx")
    message = str(caught.value)
    assert message.startswith(f"{side} of {tmp_path / 'model.onnx'}: got x float32 (T, B, 3), h0 float32 (1, B, 5), c0")
    assert message.endswith("; the graph and its contract disagree: export the model again")


def test_a_graph_that_onnx_runtime_refuses_keeps_its_message(tmp_path: Path, exported: Path) -> None:
    model = onnx.load(exported)
    model.graph.node[0].op_type = "NoSuchOperator"
    write_sealed(tmp_path / "model.onnx", model, read_onnx(exported).contract)
    with pytest.raises(
        BackendError, match=r"^ONNX Runtime [\d.]+ loading model\.onnx: got .*NoSuchOperator.*expected a"
    ):
        rnnx_runtime.load(tmp_path / "model.onnx")
