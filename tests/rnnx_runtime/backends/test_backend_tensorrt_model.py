"""Running a whole model's plan: any dtypes, shapes that the engine says, and what happens when a call is refused."""

import hashlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.rnnx_runtime.backends.conftest import PLAN, VERSION, FakeEngine, FakeLibrary
from tests.whole_model import CONTRACT, WIDTH, adder_outputs, example_of

from rnnx_runtime import BackendError, ContractError, InputError, Session, load
from rnnx_runtime.files.sidecar import Profile, Range, Sidecar, sidecar_path, text_from_sidecar

SMALL: Profile = {"B": Range(min=1, opt=1, max=2), "T": Range(min=1, opt=2, max=8)}
LARGE: Profile = {"B": Range(min=1, opt=16, max=32), "T": Range(min=1, opt=50, max=100)}


class FakeModelEngine(FakeEngine):
    """The hand-written model as an engine; its outputs' sizes are known when it runs, and not before."""

    def computed(self, feeds: dict[str, Any]) -> dict[str, Any]:
        return adder_outputs(feeds, np.float32)


class ModelBench:
    """A plan of the whole model on disk, the library that reads it, and the GPU below both."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, cudart: Any) -> None:
        self.path, self.cudart = folder / "model.plan", cudart
        self.engine = FakeModelEngine(cudart, CONTRACT, (SMALL, LARGE))
        patch.setitem(sys.modules, "tensorrt_rtx", FakeLibrary(self.engine))
        sidecar = Sidecar(
            contract=CONTRACT,
            flavor="tensorrt-rtx",
            version=VERSION,
            targets=("portable",),
            tf32=False,
            profiles=(SMALL, LARGE),
            plan_sha256=hashlib.sha256(PLAN).hexdigest(),
            onnx_sha256="cd" * 32,
        )
        self.path.write_bytes(PLAN)
        sidecar_path(self.path).write_text(text_from_sidecar(sidecar), encoding="utf-8")

    def check(self, session: Session, time: int, batch: int) -> None:
        """Compare one call with the model in NumPy."""
        feeds = example_of(time, batch)
        feeds["lengths"] = np.arange(time, time - batch, -1).clip(1)
        feeds["mask"][:, 1:2] = False
        feeds["h0"] = np.linspace(-1, 1, batch * WIDTH, dtype=np.float32).reshape(batch, WIDTH)
        truth = adder_outputs(feeds)
        inputs = {name: feeds[name] for name in ("x", "lengths", "mask")}
        outputs, state = session.run(inputs, {"h0": feeds["h0"]})
        np.testing.assert_allclose(outputs["output"], truth["output"], atol=1e-6)
        np.testing.assert_array_equal(outputs["label"], truth["label"])
        np.testing.assert_allclose(state["h0"], truth["hn"], atol=1e-5)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake_cudart: Any) -> ModelBench:
    return ModelBench(tmp_path, monkeypatch, fake_cudart)


def test_a_plan_gives_what_its_model_computes(bench: ModelBench) -> None:
    with load(bench.path) as session:
        assert (session.backend, session.device) == ("tensorrt-rtx", "Fake GPU")
        for time, batch in ((1, 1), (5, 3), (2, 2), (100, 32), (3, 1)):
            bench.check(session, time, batch)


def test_all_memory_is_given_back(bench: ModelBench) -> None:
    with load(bench.path) as session:
        bench.check(session, 5, 3)
    assert bench.cudart.is_empty
    assert not list(bench.engine.alive)


def test_results_have_memory_of_their_own(bench: ModelBench) -> None:
    inputs = {name: value for name, value in example_of().items() if name != "h0"}
    with load(bench.path) as session:
        outputs, state = session.run(inputs)
        kept = outputs["output"].copy(), state["h0"].copy()
        session.run({**inputs, "x": inputs["x"] + 5}, state)
    np.testing.assert_array_equal(outputs["output"], kept[0])
    np.testing.assert_array_equal(state["h0"], kept[1])


def test_values_that_shape_the_graph_stay_on_the_host(bench: ModelBench) -> None:
    bench.engine.on_host = {"lengths", "label"}
    with load(bench.path) as session:
        bench.check(session, 5, 3)
    assert bench.cudart.calls.count("cudaMemcpyAsync") == 3 + 2


def test_sizes_outside_every_profile_are_refused(bench: ModelBench) -> None:
    with load(bench.path) as session, pytest.raises(InputError, match=r"B=33"):
        bench.check(session, 5, 33)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("set_input_shape", "setting x"),
        ("set_tensor_address", "setting the address of x"),
        ("infer_shapes", "shape inference failed"),
        ("execute_async_v3", "execution"),
        ("set_optimization_profile_async", "switching to profile 1"),
    ],
)
def test_a_refused_call_is_an_error_and_the_next_one_works(bench: ModelBench, method: str, message: str) -> None:
    with load(bench.path) as session:
        bench.engine.refused = {method}
        with pytest.raises(BackendError, match=message):
            bench.check(session, 50, 20)
        bench.engine.refused = set()
        bench.check(session, 2, 2)


def test_an_output_whose_size_depends_on_values_is_refused(bench: ModelBench, monkeypatch: pytest.MonkeyPatch) -> None:
    with load(bench.path) as session:
        context = next(iter(bench.engine.alive))
        monkeypatch.setattr(context, "get_tensor_shape", lambda name: (-1, 3))
        with pytest.raises(BackendError, match=r"output 'output'.*\(-1, 3\).*ONNX Runtime"):
            bench.check(session, 2, 2)


def test_an_engine_that_knows_an_expressions_size_is_taken(bench: ModelBench) -> None:
    engine_output = replace(CONTRACT.outputs[0], dims=("B", 7, WIDTH))
    bench.engine.specs["output"] = engine_output
    load(bench.path).close()
    bench.engine.specs["output"] = replace(CONTRACT.outputs[0], dims=("B", "T", 4))
    with pytest.raises(ContractError, match="outputs"):
        load(bench.path)
