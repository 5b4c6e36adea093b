"""The real TensorRT libraries, as far as this machine has them and a GPU."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.rnnx_runtime.long_run import long_run

import rnnx
import rnnx_runtime
from rnnx.building.engine import build_engine
from rnnx.engines.engine_options import EngineOptions
from rnnx.truths.golden import read_golden
from rnnx_runtime import BackendError, BackendUnavailable, Contract, Session, State
from rnnx_runtime.cuda import devices as cuda
from rnnx_runtime.files.model_file import read_onnx
from rnnx_runtime.files.sidecar import Flavor, Profile, Range, Sidecar, sidecar_path, text_from_sidecar

MODULES: dict[Flavor, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
NARROW: Profile = {"B": Range(min=1, opt=1, max=2), "T": Range(min=1, opt=2, max=2)}
PROFILE: Profile = {"B": Range(min=1, opt=4, max=8), "T": Range(min=1, opt=16, max=64)}


@pytest.fixture(params=["tensorrt", "tensorrt-rtx"])
def unread_plan(request: pytest.FixtureRequest, tmp_path: Path, contract: Contract) -> Path:
    """A plan of bytes that no library reads, with a sidecar that fits the installed one."""
    path = tmp_path / "model.plan"
    path.write_bytes(b"no engine at all")
    sidecar = Sidecar(
        contract=contract,
        flavor=request.param,
        version=_real_library(request.param).__version__,
        targets=("portable",),
        tf32=False,
        profiles=(PROFILE,),
        plan_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        onnx_sha256="cd" * 32,
    )
    sidecar_path(path).write_text(text_from_sidecar(sidecar), encoding="utf-8")
    return path


def test_without_a_gpu_the_reason_is_cudas_own(unread_plan: Path) -> None:
    if (missing := _missing_gpu()) is None:
        pytest.skip(f"this machine has a GPU: {cuda.device_name()}")
    with pytest.raises(BackendUnavailable) as caught:
        rnnx_runtime.load(unread_plan)
    assert str(caught.value) == missing


def test_a_foreign_plan_is_refused_with_the_librarys_own_messages(
    unread_plan: Path, fake_cudart: object, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BackendError, match=r"TensorRT loading model\.plan: got .+Error Code"):
        rnnx_runtime.load(unread_plan)
    assert capfd.readouterr() == ("", "")


@pytest.mark.gpu
@pytest.mark.tensorrt
@pytest.mark.parametrize("flavor", ["tensorrt", "tensorrt-rtx"])
@pytest.mark.parametrize("lengths", [False, True], ids=["full", "lengths"])
@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_a_real_engine_on_a_real_gpu_gives_the_golden_values(
    tmp_path: Path, flavor: Flavor, cell: str, lengths: bool
) -> None:
    _skip_unless_it_runs_here(flavor)
    layer = getattr(pytest.importorskip("torch").nn, cell)(10, 20, 2, bidirectional=True)
    model = rnnx.export(layer, tmp_path / "model.onnx", rnnx.ExportOptions(lengths=lengths))
    options = EngineOptions(flavor=flavor, profiles=(NARROW, PROFILE), tf32=False)
    plan = build_engine(model.path, tmp_path / "model.plan", options)
    with rnnx_runtime.load(plan.path) as session:
        for golden in read_golden(model.golden, model.contract):
            actual = _outputs(session, golden.case.feeds)
            for name, truth in golden.truth.items():
                np.testing.assert_allclose(actual[name], truth, atol=1e-5, err_msg=f"{golden.case.name} {name}")
            feeds = golden.case.feeds
            run = session.resident(feeds["x"], State(feeds["h0"], feeds.get("c0")), feeds.get("lengths"))
            assert run is not None
            assert 0 < run() < 10_000


@pytest.mark.gpu
@pytest.mark.tensorrt
@pytest.mark.parametrize("flavor", ["tensorrt", "tensorrt-rtx"])
@pytest.mark.parametrize("form", ["encoder", "step"])
def test_a_thousand_steps_of_a_real_engine_equal_the_truth(tmp_path: Path, flavor: Flavor, form: str) -> None:
    _skip_unless_it_runs_here(flavor)
    run = long_run(tmp_path, form)
    with _session_of(run.path, flavor) as session:
        run.check(session)


@pytest.mark.gpu
@pytest.mark.tensorrt
@pytest.mark.parametrize("flavor", ["tensorrt", "tensorrt-rtx"])
def test_captured_steps_of_a_real_engine_equal_plain_ones(tmp_path: Path, flavor: Flavor) -> None:
    _skip_unless_it_runs_here(flavor)
    run = long_run(tmp_path, "step")
    with _session_of(run.path, flavor) as captured, _session_of(run.path, flavor) as plain:
        plain._backend._graphs.failure = "none are wanted"  # type: ignore[attr-defined]
        states: list[Any] = [None, None]
        for frame in run.frames[:50]:
            (one, states[0]), (other, states[1]) = captured.step(frame, states[0]), plain.step(frame, states[1])
            np.testing.assert_allclose(one, other, atol=1e-6)  # RTX compiles other kernels for a graph
            np.testing.assert_allclose(states[0].c, states[1].c, atol=1e-6)
        said = captured.describe()
    assert said == {"cuda_graphs": 2, "cuda_graphs_failure": None}


@pytest.mark.gpu
@pytest.mark.tensorrt
@pytest.mark.parametrize("flavor", ["tensorrt", "tensorrt-rtx"])
def test_a_state_of_a_real_engine_equals_the_same_state_from_the_host(tmp_path: Path, flavor: Flavor) -> None:
    _skip_unless_it_runs_here(flavor)
    run = long_run(tmp_path, "encoder")
    with _session_of(run.path, flavor) as session:
        _, state = session.run(run.frames[:7])
        assert state.is_on_device
        from_device, from_host = session.run(run.frames[:7], state), session.run(run.frames[:7], _on_host(state))
        np.testing.assert_array_equal(from_device[0], from_host[0])
        np.testing.assert_array_equal(from_device[1].h, from_host[1].h)


def _on_host(state: State) -> State:
    return State(state.h, state.c)


def _session_of(model: Path, flavor: Flavor) -> Session:
    """An engine of a long run's model, opened; built where there is none yet."""
    plan = model.with_suffix(".plan")
    if not plan.is_file():
        is_step = read_onnx(model).contract.layer().form == "step"
        profile = {dim: sizes for dim, sizes in PROFILE.items() if dim == "B" or not is_step}
        build_engine(model, plan, EngineOptions(flavor=flavor, profiles=(profile,), tf32=False))
    return rnnx_runtime.load(plan)


def _outputs(session: Session, feeds: Mapping[str, Any]) -> dict[str, Any]:
    output, last = session.run(feeds["x"], State(feeds["h0"], feeds.get("c0")), feeds.get("lengths"))
    return {"output": output, "hn": last.h, "cn": last.c}


def _real_library(flavor: Flavor) -> Any:
    return pytest.importorskip(MODULES[flavor], reason=f"{MODULES[flavor]} is not installed")


def _skip_unless_it_runs_here(flavor: Flavor) -> None:
    library = _real_library(flavor)
    if (missing := _missing_gpu()) is not None:
        pytest.skip(missing)
    capability = cuda.compute_capability()
    if flavor == "tensorrt-rtx" and f"SM{capability.replace('.', '')}" not in library.ComputeCapability.__members__:
        pytest.skip(f"tensorrt_rtx {library.__version__} does not list compute capability {capability}")


def _missing_gpu() -> str | None:
    try:
        cuda.device_count()
    except BackendUnavailable as error:
        return str(error)
    return None
