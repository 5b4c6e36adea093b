"""The distribution as a user gets it: built, installed with one engine in an empty environment, and serving a model."""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

import rnnx
from rnnx.truths.golden import golden_path, read_golden
from rnnx_runtime.files.model_file import read_onnx

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
SOURCES = {"rnnx": ROOT / "exporter", "rnnx_runtime": ROOT / "runtime"}
MOST_BYTES = 1_400_000
"""What the runtime may take on a disk, its bytecode included and the engine not."""

SERVE = """
import json, sys
import numpy as np
import rnnx_runtime

feeds = np.load(sys.argv[2])
x, start = feeds["x"], rnnx_runtime.State(feeds["h0"], feeds["c0"])
with rnnx_runtime.load(sys.argv[1]) as session:
    output, state = session.run(x, start)
    stepped, last = [], start
    for frame in x:
        y, last = session.step(frame, last)
        stepped.append(y)
    stream = session.stream()
    stream.reset(start)
    streamed, end = [stream.push(frame) for frame in x[:, 0]], stream.state
with rnnx_runtime.StreamPool(rnnx_runtime.load(sys.argv[1]), rnnx_runtime.PoolOptions(max_streams=2)) as pool:
    with pool.open() as stream:
        stream.reset(start)
        pushed = [stream.push(frame) for frame in x[:, 0]]
        left = stream.state
print(json.dumps({
    "package": rnnx_runtime.__file__,
    "modules": sorted({name.partition(".")[0] for name in sys.modules}),
    "session": [output.tolist(), state.h.tolist(), state.c.tolist()],
    "step": [np.stack(stepped).tolist(), last.h.tolist(), last.c.tolist()],
    "stream": [np.stack(streamed)[:, None].tolist(), end.h.tolist(), end.c.tolist()],
    "pool": [np.stack(pushed)[:, None].tolist(), left.h.tolist(), left.c.tolist()],
}))
"""


@pytest.fixture(scope="session")
def tree() -> dict[str, dict[str, bytes]]:
    """Each package's files by their paths from its root, as they are when the distribution is built."""
    return {package: _files(root, package) for package, root in SOURCES.items()}


@pytest.fixture(scope="session")
def sdist(tree: dict[str, dict[str, bytes]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution of this tree."""
    tools, folder = tmp_path_factory.mktemp("tools"), tmp_path_factory.mktemp("sdist")
    _run(sys.executable, "-m", "pip", "install", "--target", tools, "--constraint", CONSTRAINTS, "hatchling")
    _run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT, PYTHONPATH=str(tools))
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="session")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that pip builds from the source distribution alone."""
    folder = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, sdist)
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="session")
def cpu_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that was empty, with `rnnx[cpu]` installed from the wheel."""
    folder = tmp_path_factory.mktemp("environment")
    python = folder / "bin" / "python"
    _run(sys.executable, "-m", "venv", folder)
    _run(python, "-m", "pip", "install", "--constraint", CONSTRAINTS, f"rnnx[cpu] @ {wheel.as_uri()}")
    return python


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small LSTM as .onnx."""
    return rnnx.export(nn.LSTM(3, 4), tmp_path_factory.mktemp("model") / "lstm.onnx").path


@pytest.fixture(scope="module")
def served(cpu_python: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `SERVE` printed, run in an empty folder on one row of the golden inputs."""
    folder, feeds = tmp_path_factory.mktemp("empty"), model.with_name("feeds.npz")
    np.savez(feeds, **_one_row(_golden(model).case.feeds))
    printed = _run(cpu_python, "-I", "-W", "error", "-c", SERVE, model, feeds, cwd=folder)
    assert not list(folder.iterdir())
    result: dict[str, Any] = json.loads(printed)
    return result


@pytest.mark.parametrize("way", ["session", "step", "stream", "pool"])
def test_the_engine_extra_alone_serves_a_model(served: dict[str, Any], model: Path, way: str) -> None:
    truth = _one_row(_golden(model).truth)
    for name, value in zip(("output", "hn", "cn"), served[way], strict=True):
        np.testing.assert_allclose(value, truth[name], atol=1e-6, err_msg=name)


def test_serving_loads_the_installed_runtime_and_nothing_of_the_toolkit(served: dict[str, Any]) -> None:
    assert "site-packages" in Path(served["package"]).parts
    assert {"rnnx_runtime", "numpy", "onnxruntime"} <= set(served["modules"])
    assert not {"rnnx", "torch", "onnx", "click", "rich", "safetensors", "spox"} & set(served["modules"])


def test_the_engine_extra_alone_installs_neither_torch_nor_onnx(cpu_python: Path) -> None:
    listed = json.loads(_run(cpu_python, "-m", "pip", "list", "--format", "json"))
    names = {package["name"].lower() for package in listed}
    assert {"rnnx", "numpy", "onnxruntime"} <= names
    assert not names & {"torch", "onnx", "safetensors", "spox", "hatchling"}


def test_a_command_without_its_extra_prints_how_to_install_it(cpu_python: Path, model: Path) -> None:
    done = subprocess.run(
        [cpu_python.with_name("rnnx"), "doctor", model], capture_output=True, text=True, check=False, env=_environment()
    )
    assert done.returncode == 2
    assert "pip install 'rnnx[doctor]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_installed_runtime_is_small(cpu_python: Path) -> None:
    (folder,) = cpu_python.parents[1].glob("lib/python*/site-packages/rnnx_runtime")
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".pyc" for path in files)
    assert sum(path.stat().st_size for path in files) <= MOST_BYTES


@pytest.mark.parametrize("package", SOURCES)
def test_the_wheel_holds_every_file_of_a_package_and_no_other(
    wheel: Path, tree: dict[str, dict[str, bytes]], package: str
) -> None:
    with zipfile.ZipFile(wheel) as archive:
        found = {name: archive.read(name) for name in archive.namelist() if name.startswith(f"{package}/")}
    assert found == tree[package]
    assert f"{package}/py.typed" in found


def test_the_wheel_holds_two_packages_and_its_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        licence = metadata.replace("METADATA", "licenses/LICENSE")
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
    assert {name.partition("/")[0] for name in names} == {*SOURCES, metadata.partition("/")[0]}


def test_the_source_distribution_holds_what_a_build_needs_and_no_other_room(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        inside = {Path(name).parts[1] for name in archive.getnames()}
    needed = {"exporter", "runtime", "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"}
    assert inside == needed | {"PKG-INFO", ".gitignore"}


def _files(root: Path, package: str) -> dict[str, bytes]:
    paths = (path for path in (root / package).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def _golden(model: Path) -> Any:
    return read_golden(golden_path(model), read_onnx(model).contract)[-1]


def _one_row(arrays: Any) -> dict[str, Any]:
    """The first row of a batch of golden arrays, for a stream is one row."""
    return {name: value[:, :1] for name, value in arrays.items()}


def _environment(**changes: str) -> dict[str, str]:
    """This process's variables but those that point Python at other packages."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")} | changes


def _run(*command: str | Path, cwd: Path | None = None, **variables: str) -> str:
    done = subprocess.run(command, cwd=cwd, env=_environment(**variables), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout
