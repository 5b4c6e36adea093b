"""Which way the imports point, in the source and in a fresh interpreter."""

import ast
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import rnnx
import rnnx_runtime

ROOT = Path(__file__).parents[1]
RUNTIME = sorted((ROOT / "runtime" / "rnnx_runtime").rglob("*.py"))
EXPORTER = sorted((ROOT / "exporter" / "rnnx").rglob("*.py"))
POOL = ROOT / "runtime" / "rnnx_runtime" / "pool"

NATIVE = {"tensorrt", "tensorrt_rtx", "cuda", "ml_dtypes"}
"""Packages with native code that only the module that needs them may load."""

SERVERS = {"starlette", "fastapi", "uvicorn", "websockets", "httpx"}
"""What the example service is made of; the packages know nothing of it."""

LOADED = "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"


def imports_of(path: Path) -> Iterator[tuple[str, bool]]:
    """Every module that a file imports, and whether it does so when it is imported itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lazy = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _is_type_checking(node)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) not in lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            yield str(node.module), id(node) not in lazy


def _imports_torch(module: str) -> bool:
    """Whether a module of the toolkit imports torch when it is imported."""
    path = next((own for own in EXPORTER if ".".join(own.with_suffix("").parts).endswith(f".{module}")), None)
    return path is not None and any(package(own) == "torch" and at_import for own, at_import in imports_of(path))


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def package(module: str) -> str:
    return module.partition(".")[0]


def loaded_after(statement: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{statement}\n{LOADED}"], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("path", RUNTIME, ids=lambda path: path.stem)
def test_the_runtime_imports_nothing_of_the_toolkit(path: Path) -> None:
    found = {package(module) for module, _ in imports_of(path)}
    assert not found & ({"rnnx", "torch", "onnx", "safetensors", "spox", "click", "rich"} | SERVERS)


@pytest.mark.parametrize("path", RUNTIME, ids=lambda path: path.stem)
def test_the_runtime_needs_numpy_alone_to_be_imported(path: Path) -> None:
    eager = {package(module) for module, at_import in imports_of(path) if at_import}
    allowed = {"numpy", "rnnx_runtime", *sys.stdlib_module_names}
    if path.stem.startswith("backend_"):
        allowed |= {"onnxruntime"}
    assert eager <= allowed


@pytest.mark.parametrize("path", RUNTIME, ids=lambda path: path.stem)
def test_sessions_know_nothing_of_the_pool_that_runs_them(path: Path) -> None:
    if POOL in path.parents:
        return
    found = {module for module, at_import in imports_of(path) if at_import or path.name != "__init__.py"}
    assert not any(module.startswith("rnnx_runtime.pool") for module in found)


def test_at_most_one_module_of_the_runtime_knows_prometheus() -> None:
    found = [path for path in RUNTIME if any(package(module) == "prometheus_client" for module, _ in imports_of(path))]
    assert set(found) <= {POOL / "prometheus.py"}


def test_one_module_of_the_runtime_needs_an_event_loop() -> None:
    found = [path for path in RUNTIME if any(package(module) == "asyncio" for module, _ in imports_of(path))]
    assert found == [POOL / "async_stream.py"]


@pytest.mark.parametrize("path", EXPORTER, ids=lambda path: ".".join(path.parts[path.parts.index("rnnx") + 1 :])[:-3])
def test_the_library_does_not_import_the_command_line(path: Path) -> None:
    if "cli" in path.parts:
        return
    found = {module for module, _ in imports_of(path)}
    assert not any(module.startswith("rnnx.cli") or package(module) in ("click", "rich") for module in found)
    assert not any(package(module) in SERVERS | {"prometheus_client"} for module in found)


@pytest.mark.parametrize("path", EXPORTER, ids=lambda path: ".".join(path.parts[path.parts.index("rnnx") + 1 :])[:-3])
def test_no_module_of_the_toolkit_imports_torch_when_it_is_imported(path: Path) -> None:
    eager = {module for module, at_import in imports_of(path) if at_import}
    native = {"torch", "safetensors", "onnxruntime", "tensorrt", "tensorrt_rtx", "cuda"}
    if {"model_export", "decoders"} & {*path.parts}:
        native -= {"torch"}  # their classes are torch's own; the rest of the toolkit imports them on first use
    else:
        assert not any(_imports_torch(module) for module in eager)
    assert not {package(module) for module in eager} & native


def test_importing_the_runtime_loads_no_engine_and_no_toolkit() -> None:
    loaded = loaded_after("import rnnx_runtime")
    assert not loaded & ({"torch", "onnx", "onnxruntime", "click", "rich", "rnnx", "safetensors", "spox"} | NATIVE)
    assert {"numpy", "rnnx_runtime"} <= loaded


def test_importing_the_toolkit_loads_neither_torch_nor_onnx() -> None:
    loaded = loaded_after("import rnnx")
    assert not loaded & ({"torch", "onnx", "onnxruntime", "safetensors", "spox", "click", "rich"} | NATIVE)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["export", "--help"], ["verify", "--help"]], ids=" ".join
)
def test_help_loads_neither_torch_nor_onnx(arguments: list[str]) -> None:
    program = f"import sys; sys.argv = {['rnnx', *arguments]!r}\nfrom rnnx.cli import main\n"
    loaded = loaded_after(program + "try: main()\nexcept SystemExit: pass")
    assert "click" in loaded
    assert not loaded & ({"torch", "onnx", "onnxruntime", "safetensors", "spox"} | NATIVE)


@pytest.mark.parametrize("module", [rnnx, rnnx_runtime], ids=lambda module: module.__name__)
def test_every_public_name_resolves(module: object) -> None:
    names = vars(module)["__all__"]
    assert names == sorted(names)
    for name in names:
        value = getattr(module, name)
        assert getattr(value, "__module__", "rnnx").partition(".")[0] in ("rnnx", "rnnx_runtime", "typing")


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'rnnx' has no attribute 'no_such_name'"):
        rnnx.no_such_name  # noqa: B018 - the access is what is tested


@pytest.mark.parametrize("path", RUNTIME + EXPORTER, ids=lambda path: path.stem)
def test_every_module_can_be_imported_by_its_name(path: Path) -> None:
    parts = path.with_suffix("").parts
    name = ".".join(parts[max(i for i, part in enumerate(parts) if part in ("rnnx", "rnnx_runtime")) :])
    importlib.import_module(name.removesuffix(".__init__"))
