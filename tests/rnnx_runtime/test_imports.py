"""What a process loads when it imports the runtime, makes a pool, opens a model: each only what it needs."""

import json
import subprocess
import sys

import pytest
from torch import nn

import rnnx
import rnnx_runtime

LOADED = "import json, sys; print(json.dumps(sorted(sys.modules)))"
OPEN = "import rnnx_runtime; session = rnnx_runtime.load({path!r}, 'ort-cpu')"
POOL_NAMES = ("PoolMetrics", "PoolOptions", "PoolStream", "Push", "StreamPool")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small LSTM cell as .onnx."""
    return str(rnnx.export(nn.LSTMCell(3, 4), tmp_path_factory.mktemp("model") / "step.onnx").path)


def loaded_after(statements: str) -> set[str]:
    """The modules of a fresh process, by their whole names."""
    command = [sys.executable, "-W", "error", "-c", f"{statements}\n{LOADED}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_the_runtime_loads_no_pool_and_no_backend() -> None:
    loaded = {name for name in loaded_after("from rnnx_runtime import load") if name.startswith("rnnx_runtime.")}
    assert "rnnx_runtime.session" in loaded
    assert not [name for name in loaded if name.startswith(("rnnx_runtime.pool", "rnnx_runtime.backends.onnx"))]


def test_every_public_name_is_there_and_none_is_loaded_before_its_first_use() -> None:
    assert all(getattr(rnnx_runtime, name) is not None for name in rnnx_runtime.__all__)
    assert not [name for name in loaded_after("import rnnx_runtime") if name.startswith(("rnnx_runtime.", "numpy"))]
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        rnnx_runtime.nothing  # noqa: B018 - the access is what is tested


@pytest.mark.parametrize("name", POOL_NAMES)
def test_a_name_of_the_pool_is_imported_on_first_use(name: str) -> None:
    loaded = loaded_after(f"from rnnx_runtime import {name}")
    assert "rnnx_runtime.pool" in loaded
    assert getattr(rnnx_runtime, name).__name__ == name


@pytest.mark.parametrize(
    "statement", ["from rnnx_runtime import load", "import rnnx_runtime.pool"], ids=["load", "pool"]
)
def test_no_import_pays_for_an_event_loop_or_for_metrics(statement: str) -> None:
    loaded = loaded_after(statement) - loaded_after("import numpy")  # NumPy 1 imports much of the second list itself
    assert not loaded & {"asyncio", "concurrent.futures", "ctypes.util", "multiprocessing", "prometheus_client"}
    assert not loaded & {"subprocess", "http", "email", "ssl", "socket", "numpy.ma", "numpy.testing"}


def test_an_event_loop_is_loaded_by_the_stream_that_uses_it(model: str) -> None:
    open_stream = f"{OPEN.format(path=model)}\npool = rnnx_runtime.StreamPool(session)\nstream = pool.open()"
    enter = "try: stream.__aenter__().send(None)\nexcept StopIteration: pass"
    assert "asyncio" not in loaded_after(f"{open_stream}\npool.close()")
    assert "asyncio" in loaded_after(f"{open_stream}\n{enter}\npool.close()")


def test_an_onnx_model_loads_nothing_of_tensorrt(model: str) -> None:
    loaded = loaded_after(OPEN.format(path=model))
    assert "rnnx_runtime.backends.onnxruntime" in loaded
    assert not loaded & {"rnnx_runtime.backends.tensorrt", "rnnx_runtime.backends.engine", "tensorrt", "tensorrt_rtx"}


def test_a_first_step_imports_nothing_more_of_numpy(model: str) -> None:
    step = "import numpy as np\nsession.step(np.zeros((1, 3), np.float32))"
    before = loaded_after(OPEN.format(path=model))
    assert loaded_after(f"{OPEN.format(path=model)}\n{step}") == before


def test_star_import_gives_every_public_name() -> None:
    missing = f"from rnnx_runtime import *\nassert not set({rnnx_runtime.__all__!r}) - set(globals())"
    assert "rnnx_runtime.pool" in loaded_after(missing)


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'rnnx_runtime' has no attribute 'no_such_name'"):
        rnnx_runtime.no_such_name  # noqa: B018 - the access is what is tested
