"""What a service waits for until its first answer, and what it installs: `python benchmarks/runtime_startup.py`.

Imports are timed in fresh processes in turns, from copies of both packages with their bytecode, as pip leaves them. A
load with its first step is timed beside a bare `InferenceSession` on the bytes of the same file with its first run, one
thread: in turns in this process, and in a fresh process each, whose clock starts once NumPy, ONNX Runtime and
rnnx_runtime are imported. What of a load is reading and checking the file, and of that the hash, stands beside it. The
file is in the page cache.
"""

import compileall
import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from rounds import write_result

import rnnx
import rnnx_runtime
from rnnx.cli.render import print_table
from rnnx_runtime.files.model_file import read_model
from rnnx_runtime.files.seal import check_seal

PACKAGES = tuple(Path(module.__file__).parent for module in (rnnx_runtime, rnnx) if module.__file__)
TURNS = 31
PROCESSES = 15
MODELS: dict[str, Callable[[], torch.nn.Module]] = {
    "LSTMCell, H=64": lambda: torch.nn.LSTMCell(64, 64),
    "LSTM, H=64": lambda: torch.nn.LSTM(64, 64),
    "LSTMCell, H=256": lambda: torch.nn.LSTMCell(256, 256),
    "LSTM, H=256": lambda: torch.nn.LSTM(256, 256),
    "LSTM, H=1280": lambda: torch.nn.LSTM(1280, 1280),
}
IMPORTS = {
    "numpy": "import numpy",
    "rnnx_runtime.load": "import numpy; from rnnx_runtime import load",
    "rnnx_runtime.load, its pool": "import numpy, rnnx_runtime.pool; from rnnx_runtime import load",
    "numpy, asyncio": "import numpy, asyncio",
}

_BARE = """
import sys, time
import numpy as np, onnxruntime
data = dict(np.load(sys.argv[2]))
start = time.perf_counter()
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
model = open(sys.argv[1], "rb").read()
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
session.run(None, data)
print(time.perf_counter() - start)
"""

_OURS = """
import sys, time
import numpy as np, onnxruntime, rnnx_runtime
from rnnx_runtime import State, load
data = dict(np.load(sys.argv[2]))
start = time.perf_counter()
session = load(sys.argv[1])
session.step(data["x"].reshape(1, -1), State(data["h0"], data["c0"]))
print(time.perf_counter() - start)
"""


def main() -> None:
    """Measure, write down and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        site = _installed(folder / "site")
        sizes, imports, causes = _sizes(site), _imports(site), _import_causes(site)
        loads = [_load(model, make(), folder, site) for model, make in MODELS.items()]
    data = {"installed_bytes": sizes, "imports": imports, "import_self_ms": causes, "loads": loads}
    write_result("runtime_startup", "python benchmarks/runtime_startup.py", data)
    print_table("Installed, bytecode included", ("package", ">bytes"), list(sizes.items()))
    columns = ("import", ">process ms", ">ms over numpy")
    print_table("Imports, fresh processes", columns, [(row["import"], row["ms"], row["over_ms"]) for row in imports])
    print_table("Of it, self time", ("package", ">ms"), list(causes.items()))
    print_table("Load and first step", tuple(loads[0]), [tuple(row.values()) for row in loads])


def _installed(site: Path) -> Path:
    """Both packages as pip leaves them."""
    for package in PACKAGES:
        target = site / package.name
        for source in package.rglob("*"):
            if source.is_file() and "__pycache__" not in source.parts:
                copy = target / source.relative_to(package)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(source.read_bytes())
    if not compileall.compile_dir(site, quiet=1):
        raise RuntimeError("a module does not compile")
    return site


def _sizes(site: Path) -> dict[str, int]:
    return {
        package.name: sum(path.stat().st_size for path in (site / package.name).rglob("*") if path.is_file())
        for package in PACKAGES
    }


def _python(site: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """A process that imports from `site`; it starts there, for Python looks into its folder first."""
    command, environment = [sys.executable, *arguments], os.environ | {"PYTHONPATH": str(site)}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=site)


def _imports(site: Path) -> list[dict[str, Any]]:
    """Whole processes; "over" is the median of the differences to NumPy alone within a turn."""
    turns: list[dict[str, float]] = []
    for _ in range(TURNS):
        turns.append({})
        for name, statement in IMPORTS.items():
            turns[-1][name] = _ms(lambda statement=statement: _python(site, "-c", statement))  # type: ignore[misc]
    return [
        {
            "import": name,
            "ms": round(statistics.median(turn[name] for turn in turns), 1),
            "over_ms": round(statistics.median(turn[name] - turn["numpy"] for turn in turns), 1),
        }
        for name in IMPORTS
    ]


def _import_causes(site: Path) -> dict[str, float]:
    """Which packages `from rnnx_runtime import load` spends its time in, by -X importtime, which costs some itself."""
    runs: list[Counter[str]] = []
    for _ in range(11):
        report = _python(site, "-X", "importtime", "-c", "import numpy\nfrom rnnx_runtime import load").stderr
        lines = [line.removeprefix("import time:").split("|") for line in report.splitlines() if "|" in line][1:]
        start = next(number for number, parts in enumerate(lines) if parts[2] == " numpy")
        runs.append(Counter())
        for own, _, module in lines[start + 1 :]:
            runs[-1][module.strip().partition(".")[0]] += int(own)
    medians = {name: statistics.median(run[name] for run in runs) / 1e3 for name in runs[0]}
    return {name: round(ms, 2) for name, ms in sorted(medians.items(), key=lambda item: -item[1])[:10]}


def _load(name: str, module: torch.nn.Module, folder: Path, site: Path) -> dict[str, Any]:
    path = rnnx.export(module, folder / f"{name}.onnx").path
    bare, ours, feeds = _first_answers(path)
    pairs = _in_turns(bare, ours)
    inputs = folder / "inputs.npz"
    np.savez(inputs, **feeds)
    programs = [(_fresh_ms(site, _BARE, path, inputs), _fresh_ms(site, _OURS, path, inputs)) for _ in range(PROCESSES)]
    data = path.read_bytes()
    return {
        "model": name,
        "mb": round(len(data) / 1e6, 1),
        **_figures(pairs, ""),
        **_figures(programs, "fresh_"),
        "read_and_check_ms": _median_ms(lambda: read_model(path)),
        "sha256_ms": _median_ms(lambda: check_seal(data, name)),
    }


def _first_answers(path: Path) -> tuple[Callable[[], object], Callable[[], object], dict[str, Any]]:
    """Bare and ours, each from the file to the first answer, and their inputs."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    with rnnx_runtime.load(path) as session:
        state, spec = session.initial_state(1), session.spec
    x = np.zeros((1, spec.input_size), np.float32)
    feeds = {"x": x if spec.layer().form == "step" else x[None], "h0": state.h, "c0": state.c}

    def bare() -> None:
        model = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        model.run(None, feeds)

    def ours() -> None:
        with rnnx_runtime.load(path) as session:
            session.step(x, state)

    return bare, ours, feeds


def _in_turns(bare: Callable[[], object], ours: Callable[[], object]) -> list[tuple[float, float]]:
    """Milliseconds of both in every turn, the first of them by turns too; the first turn is warm-up."""
    pairs = []
    gc.collect()
    for turn in range(TURNS + 1):
        calls = (bare, ours) if turn % 2 else (ours, bare)
        first, second = map(_ms, calls)
        pairs.append((first, second) if turn % 2 else (second, first))
    return pairs[1:]


def _figures(pairs: list[tuple[float, float]], prefix: str) -> dict[str, float]:
    return {
        f"{prefix}bare_ms": round(statistics.median(pair[0] for pair in pairs), 2),
        f"{prefix}ours_ms": round(statistics.median(pair[1] for pair in pairs), 2),
        f"{prefix}ratio": round(statistics.median(pair[1] / pair[0] for pair in pairs), 2),
    }


def _fresh_ms(site: Path, program: str, path: Path, inputs: Path) -> float:
    return 1e3 * float(_python(site, "-c", program, str(path), str(inputs)).stdout)


def _median_ms(call: Callable[[], object]) -> float:
    return round(statistics.median(_ms(call) for _ in range(TURNS)), 2)


def _ms(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - start)


if __name__ == "__main__":
    main()
