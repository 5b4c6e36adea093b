"""Which way the imports point: between rooms, between modules, and in a fresh interpreter."""

import ast
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import rnnx
import rnnx_runtime

ROOT = Path(__file__).parents[1]
SOURCES = {"rnnx": ROOT / "exporter" / "rnnx", "rnnx_runtime": ROOT / "runtime" / "rnnx_runtime"}

TOOLKIT_ROOT = {"__init__", "__main__", "errors", "extras", "progress", "artifacts", "inspection"}
"""The modules of the toolkit that are in no room; there are no others."""

EVERYWHERE = {
    "rnnx": {"errors", "extras", "progress", "artifacts", "outputs"},
    "rnnx_runtime": {"array_type", "errors", "printable"},
}
"""Modules, and a room, that all of their package may import, and they each other. The toolkit may import all of the
runtime."""

MAY_IMPORT = {
    "rnnx": {  # top down
        "__main__": "cli",
        "cli": "sealing verifying reports timing building diagnosis inspection adopting exporting decoders tracing"
        " graphs modules formulations parity runners tensorrt_network engines linting truths weights",
        "sealing": "verifying reports graphs parity runners truths",
        "verifying": "reports timing adopting checks diagnosis tracing modules parity runners tensorrt_network engines"
        " linting truths",
        "reports": "timing checks diagnosis parity runners linting",
        "timing": "adopting tracing runners tensorrt_network truths",
        "checks": "parity runners truths weights",
        "diagnosis": "parity runners linting truths weights",
        "parity": "runners truths",
        "runners": "tensorrt_network linting truths weights",
        "tensorrt_network": "engines truths",
        "building": "adopting decoders engines linting",
        "inspection": "adopting engines linting weights",
        "engines": "linting truths",
        "adopting": "tracing proofs graphs parity runners linting truths",
        "exporting": "decoders tracing modules graphs formulations truths weights",
        "decoders": "tracing modules graphs truths",
        "tracing": "proofs modules graphs formulations truths weights",
        "proofs": "truths",
        "graphs": "formulations parity runners linting truths weights",
        "modules": "weights",
        "formulations": "weights",
        "linting": "weights",
        "truths": "weights",
        "weights": "",
    },
    "rnnx_runtime": {
        "seq2seq": "session loading feeding backends files threads contract_json contract",
        "pool": "session stream bound_step snapshot arrays threads state contract",
        "loading": "session backends files threads",
        "session": "stream stepper bound_step ragged feeding backends arrays threads state contract dim_expressions",
        "stream": "stepper bound_step snapshot arrays state contract",
        "stepper": "bound_step arrays state contract",
        "bound_step": "backends arrays threads state contract",
        "ragged": "backends contract",
        "snapshot": "contract",
        "feeding": "arrays state contract dim_expressions",
        "backends": "cuda files arrays state contract dim_expressions",
        "cuda": "contract",
        "files": "contract_json contract dim_expressions",
        "contract_json": "contract dim_expressions",
        "arrays": "state contract dim_expressions",
        "threads": "",
        "contract": "dim_expressions",
        "dim_expressions": "",
        "state": "",
    },
}
"""Which room may import which. Above its rooms a package has its `__init__` alone, which names what is public."""

SERVERS = ("starlette", "fastapi", "uvicorn", "websockets", "httpx")

ONLY_IN = {
    **dict.fromkeys(("rnnx", "torch", "onnx", "safetensors", "spox"), "rnnx"),
    **dict.fromkeys(("click", "rich"), "rnnx.cli"),
    **dict.fromkeys(SERVERS, "nowhere"),  # the example service is made of them
    "prometheus_client": "rnnx_runtime.pool.prometheus",
    "asyncio": "rnnx_runtime.pool.async_stream",
}
"""Packages and the only room or module that may import them, at whatever time."""

NATIVE = {"torch", "safetensors", "onnxruntime", "tensorrt", "tensorrt_rtx", "cuda", "ml_dtypes"}
"""Packages with native code, which are imported on first use."""

TORCH = ("rnnx.tracing", "rnnx.decoders", "rnnx.graphs.model_checks", "rnnx.modules.source_lines")
"""Where torch itself is extended or watched: these import it at once, and all others import them on first use."""

LOADED = "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"


@dataclass(frozen=True, kw_only=True)
class Import:
    """A module or package that a module imports; `at_import` unless a function or a type checker does."""

    name: str
    at_import: bool


def modules() -> dict[str, Path]:
    """Every module of both packages by its dotted name."""
    found = {}
    for package, folder in SOURCES.items():
        for path in sorted(folder.rglob("*.py")):
            inner = path.relative_to(folder).with_suffix("").parts
            found[".".join((package, *inner)).removesuffix(".__init__")] = path
    return found


def _imports(path: Path, known: Mapping[str, Path]) -> Iterator[Import]:
    for node, at_import in _statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (Import(name=alias.name, at_import=at_import) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield Import(name=inner if inner in known else str(node.module), at_import=at_import)


def _statements(tree: ast.AST, *, at_import: bool = True) -> Iterator[tuple[ast.AST, bool]]:
    """All that is no expression, and whether it runs when the module is imported."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.expr):
            is_late = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _is_type_checking(node)
            yield node, at_import and not is_late
            yield from _statements(node, at_import=at_import and not is_late)


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


MODULES = modules()

Imports = Mapping[str, tuple[Import, ...]]


@pytest.fixture(scope="module")
def imports() -> Imports:
    """What each module imports."""
    return {name: tuple(_imports(path, MODULES)) for name, path in MODULES.items()}


def package(name: str) -> str:
    return name.partition(".")[0]


def room(name: str) -> str:
    """The room of a module, which is its own name where it is in none; empty of a package's own `__init__`."""
    return name.split(".")[1] if "." in name else ""


def is_within(name: str, *rooms: str) -> bool:
    return any(name == own or name.startswith(f"{own}.") for own in rooms)


def reached(start: str, arrows: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = arrows.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found


def loaded_after(statement: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{statement}\n{LOADED}"], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_rooms_import_what_the_table_says(imports: Imports) -> None:
    offenders = [
        f"{name} imports {imported.name}"
        for name, own in imports.items()
        for imported in own
        if room(name) and imported.name in MODULES and not _may_import(name, imported.name)
    ]
    assert not offenders, "\n".join(offenders)


def _may_import(name: str, imported: str) -> bool:
    own, other = package(name), package(imported)
    if own != other:
        return other == "rnnx_runtime"
    allowed = {room(name), *MAY_IMPORT[own].get(room(name), "").split(), *EVERYWHERE[own]}
    return room(imported) in allowed


def test_the_table_has_no_circle_and_names_what_is_there() -> None:
    for name, table in MAY_IMPORT.items():
        arrows = {key: set(values.split()) for key, values in table.items()}
        assert not [key for key in arrows if key in reached(key, arrows)]
        present = {room(module) for module in MODULES if package(module) == name} - {""}
        assert present == {*arrows, *EVERYWHERE[name]}


def test_no_module_reaches_itself(imports: Imports) -> None:
    arrows = {name: {imported.name for imported in own if imported.name in MODULES} for name, own in imports.items()}
    reach = {name: reached(name, arrows) for name in arrows}
    circles = {tuple(sorted(other for other in reach[name] if name in reach[other])) for name in reach}
    circles.discard(())
    assert not circles, "\n".join(" – ".join(circle) for circle in circles)


def test_every_module_of_the_toolkit_is_in_a_room() -> None:
    assert {path.stem for path in SOURCES["rnnx"].glob("*.py")} == TOOLKIT_ROOT


def test_every_room_says_in_two_sentences_what_belongs_there() -> None:
    offenders = []
    for folder in {path.parent for path in MODULES.values()} - set(SOURCES.values()):
        path = folder / "__init__.py"
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) if path.is_file() else None
        if len(re.split(r"(?<=\.)\s+", text or "")) != 2:
            offenders.append(f"{folder.relative_to(ROOT)}: {text!r}")
    assert not offenders, "\n".join(offenders)


def test_packages_are_imported_only_where_they_belong(imports: Imports) -> None:
    offenders = [
        f"{name} imports {imported.name}"
        for name, own in imports.items()
        for imported in own
        if (home := ONLY_IN.get(package(imported.name)))
        and not is_within(name, home)
        and not (name == "rnnx.__main__" and home == "rnnx.cli")
    ]
    assert not offenders, "\n".join(offenders)


def test_the_runtime_needs_numpy_alone_to_be_imported(imports: Imports) -> None:
    allowed = {"numpy", "rnnx_runtime", *sys.stdlib_module_names}
    offenders = [
        f"{name} imports {imported.name}"
        for name, own in imports.items()
        for imported in own
        if package(name) == "rnnx_runtime" and imported.at_import and package(imported.name) not in allowed
    ]
    assert not offenders, "\n".join(offenders)


def test_no_module_of_the_toolkit_loads_native_code_when_it_is_imported(imports: Imports) -> None:
    arrows = {name: {found.name for found in own if found.at_import} for name, own in imports.items()}
    offenders = []
    for name in arrows:
        loaded = {package(other) for other in reached(name, arrows)} & NATIVE
        if unwanted := loaded - ({"torch"} if is_within(name, *TORCH) else set()):
            offenders.append(f"{name} loads {', '.join(sorted(unwanted))}")
    assert not offenders, "\n".join(offenders)


def test_every_module_can_be_imported_by_its_name() -> None:
    assert [name for name in MODULES if importlib.import_module(name).__name__ != name] == []


def test_importing_the_runtime_loads_no_engine_and_no_toolkit() -> None:
    loaded = loaded_after("import rnnx_runtime; rnnx_runtime.load")
    assert not loaded & ({"onnx", "click", "rich", "rnnx", "spox"} | NATIVE)
    assert {"numpy", "rnnx_runtime"} <= loaded


def test_importing_the_toolkit_loads_neither_torch_nor_onnx() -> None:
    assert not loaded_after("import rnnx") & ({"onnx", "spox", "click", "rich"} | NATIVE)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["export", "--help"], ["verify", "--help"]], ids=" ".join
)
def test_help_loads_neither_torch_nor_onnx(arguments: list[str]) -> None:
    program = f"import sys; sys.argv = {['rnnx', *arguments]!r}\nfrom rnnx.cli import main\n"
    loaded = loaded_after(program + "try: main()\nexcept SystemExit: pass")
    assert "click" in loaded
    assert not loaded & ({"onnx", "spox"} | NATIVE)


@pytest.mark.parametrize("module", [rnnx, rnnx_runtime], ids=lambda module: module.__name__)
def test_every_public_name_resolves(module: object) -> None:
    names = vars(module)["__all__"]
    assert names == sorted(names)
    for name in names:
        value = getattr(module, name)
        assert getattr(value, "__module__", "rnnx").partition(".")[0] in ("rnnx", "rnnx_runtime", "typing")


def test_no_room_has_the_name_of_something_public() -> None:
    """Python would put the room in its place at the first import of a module in it."""
    for module in (rnnx, rnnx_runtime):
        assert not {room(name) for name in MODULES if package(name) == module.__name__} & {*vars(module)["__all__"]}


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'rnnx' has no attribute 'no_such_name'"):
        rnnx.no_such_name  # noqa: B018 - the access is what is tested
