"""Loading a plan: what this host cannot run, what the library refuses, what is not as the sidecar says."""

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.contracts import changed

from rnnx_runtime import BackendError, BackendUnavailable, ContractError
from rnnx_runtime.files.sidecar import Flavor

MODULES: dict[Flavor, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}


# What this host cannot run


def test_a_plan_of_the_other_library_is_unavailable(bench: Any) -> None:
    with pytest.raises(BackendUnavailable, match=r"got model\.plan, a plan for tensorrt-rtx, expected a plan for tens"):
        bench.load("tensorrt")


@pytest.mark.parametrize("flavor", ["tensorrt", "tensorrt-rtx"])
def test_a_missing_library_names_the_pip_command(bench: Any, monkeypatch: pytest.MonkeyPatch, flavor: Flavor) -> None:
    bench.use(bench.small, flavor=flavor)
    monkeypatch.setitem(sys.modules, MODULES[flavor], None)
    with pytest.raises(BackendUnavailable, match=rf"no {MODULES[flavor]} package.+pip install 'rnnx\[{flavor}\]'"):
        bench.load()


def test_a_library_that_cannot_load_its_own_parts_says_which(
    bench: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tensorrt_rtx.py").write_text("raise ImportError('libnvinfer.so.10: cannot open shared object file')\n")
    monkeypatch.delitem(sys.modules, "tensorrt_rtx")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BackendUnavailable, match=r"broken tensorrt_rtx package \(libnvinfer\.so\.10.+force-reinstall"):
        bench.load()


def test_another_version_of_the_library_is_unavailable(bench: Any) -> None:
    bench.library.__version__ = "1.2.4.0"
    with pytest.raises(
        BackendUnavailable, match=r"got tensorrt_rtx 1\.2\.4\.0, expected 1\.2\.3\.4, which built model"
    ):
        bench.load()


def test_no_gpu_is_unavailable_with_cudas_own_reason(bench: Any) -> None:
    bench.cudart.failures["cudaGetDeviceCount"] = bench.cudart.cudaError_t.cudaErrorNoDevice
    with pytest.raises(BackendUnavailable, match=r"cudaErrorNoDevice \(100\)"):
        bench.load()


def test_another_compute_capability_is_unavailable(bench: Any) -> None:
    bench.use(bench.small, targets=("8.6", "9.0"))
    with pytest.raises(BackendUnavailable, match=r"compute capability 8\.9, expected 8\.6 or 9\.0, which model\.plan"):
        bench.load()


def test_a_listed_compute_capability_runs(bench: Any) -> None:
    with bench.use(bench.small, targets=("8.6", "8.9")).load() as session:
        bench.check(session, time=2, batch=1)


def test_the_library_is_asked_for_before_the_gpu(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.cudart.failures["cudaGetDeviceCount"] = bench.cudart.cudaError_t.cudaErrorNoDevice
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(BackendUnavailable, match="no tensorrt_rtx package"):
        bench.load()


# Engines that are not what their sidecar says


@pytest.mark.parametrize(
    ("changes", "side", "difference"),
    [
        pytest.param({"hidden_size": 5, "projection_size": 5}, "inputs", r"h0 float32 \(1, B, 5\)", id="size"),
        pytest.param({"lengths": True}, "inputs", r"lengths int32 \(B,\)", id="missing-input"),
        pytest.param({"state_inputs": False}, "inputs", r"expected x float32 \(T, B, 3\);", id="extra-input"),
        pytest.param({"cell": "gru", "state_inputs": False}, "inputs", "got x", id="cell"),
    ],
)
def test_an_engine_unlike_its_contract_is_refused(
    bench: Any, changes: dict[str, Any], side: str, difference: str
) -> None:
    bench.use(bench.small, contract=changed(bench.contract, **changes))
    with pytest.raises(ContractError, match=f"{side} of .+{difference}"):
        bench.load()


def test_outputs_are_compared_too(bench: Any) -> None:
    bench.engine.specs["hn"] = replace(bench.engine.specs["hn"], dims=(2, "B", 4))
    with pytest.raises(ContractError, match=r"outputs of .+got .+hn float32 \(2, B, 4\)"):
        bench.load()


def test_another_dtype_is_refused(bench: Any) -> None:
    bench.engine.get_tensor_dtype = lambda name: SimpleNamespace(name="HALF")
    with pytest.raises(ContractError, match=r"got x float16 \(T, B, 3\)"):
        bench.load()


def test_another_rank_is_refused(bench: Any) -> None:
    bench.engine.get_tensor_shape = lambda name: (-1, 3)
    with pytest.raises(ContractError, match=r"got x float32 \(-1, 3\)"):
        bench.load()


def test_profiles_unlike_the_sidecars_are_refused(bench: Any) -> None:
    small, large = bench.small, bench.large
    for declared in ((small,), (large, small), (small, {**large, "T": small["T"]})):
        bench.use(small, large, profiles=declared)
        with pytest.raises(ContractError, match=r"profiles of .+: got 2 in the engine"):
            bench.load()


def test_a_plan_the_library_refuses_is_an_error_with_its_messages(bench: Any) -> None:
    bench.library.engine = None
    with pytest.raises(BackendError, match=r"TensorRT loading model\.plan: got the plan is of another planet"):
        bench.load()


def test_a_runtime_that_cannot_be_made_is_an_error(bench: Any) -> None:
    def refuse(logger: Any) -> None:
        raise TypeError("factory function returned nullptr")

    bench.library.Runtime = refuse
    with pytest.raises(BackendError, match="factory function returned nullptr"):
        bench.load()
