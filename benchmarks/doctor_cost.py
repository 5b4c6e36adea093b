"""What `rnnx doctor` costs as a whole process, interpreter start included: `python benchmarks/doctor_cost.py`.

The models are a 3-layer bidirectional LSTM of 50 MiB from both of torch.onnx's exporters and from rnnx, the same in
int8, whose weights the doctor reads, and a graph of many nodes: an LSTM decoder of 128 steps written out. Peak memory
is that of the process over one that only imports the same packages, against the file's size (Linux: VmHWM).
"""

import logging
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from rounds import write_result
from torch import nn

import rnnx
from rnnx.cli.render import print_table

RNNX = Path(sys.executable).with_name("rnnx")
SIZE = 452
"""Input and hidden size with which three bidirectional layers take 50 MiB."""

_PEAK = """
import sys
from pathlib import Path
import rnnx, rnnx.linting.examination
import onnx, onnx.inliner, rnnx.linting.rules.examined_model
if len(sys.argv) > 1:
    rnnx.doctor(sys.argv[1])
status = Path("/proc/self/status").read_text().splitlines()
print(next(1024 * int(line.split()[1]) for line in status if line.startswith("VmHWM")))
"""


def main() -> None:
    """Measure, write down and print."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        data = {path.stem: _cost(path) for path in _models(Path(name))}
    write_result("doctor_cost", "python benchmarks/doctor_cost.py", data)
    columns = ("model", ">MiB", ">nodes", ">whole process s", ">peak over file")
    print_table("rnnx doctor", columns, [(name, *cost.values()) for name, cost in data.items()])


def _models(folder: Path) -> list[Path]:
    module, cell = nn.LSTM(SIZE, SIZE, 3, bidirectional=True).eval(), nn.LSTMCell(128, 128)
    example, auto = torch.randn(5, 3, SIZE), torch.export.Dim.AUTO
    paths = [folder / f"{name}.onnx" for name in ("torch-dynamo", "torch-torchscript", "rnnx", "int8", "unrolled-128")]
    options: dict[str, Any] = {"dynamic_shapes": ({0: auto, 1: auto},), "external_data": False, "verbose": False}
    torch.onnx.export(module, (example,), paths[0], dynamo=True, **options)
    axes = {"input": {0: "T", 1: "B"}}
    torch.onnx.export(module, (example,), paths[1], dynamo=False, input_names=["input"], dynamic_axes=axes)
    rnnx.export(module, paths[2])
    _quantize(paths[1], paths[3])
    rnnx.export(cell, paths[4], rnnx.ExportOptions(form="unrolled", steps=128))
    return paths


def _quantize(source: Path, target: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(source, target)


def _cost(path: Path) -> dict[str, Any]:
    import onnx

    size = path.stat().st_size
    seconds = [_seconds([str(RNNX), "doctor", str(path)]) for _ in range(7)]
    return {
        "file_mib": round(size / 2**20, 1),
        "nodes": len(onnx.load(path, load_external_data=False).graph.node),
        "process_s": round(statistics.median(seconds), 3),
        "peak_over_imports_in_file_sizes": round((_peak(str(path)) - _peak()) / size, 2),
    }


def _seconds(command: list[str]) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{command}: exit code {done.returncode}")
    return time.perf_counter() - start


def _peak(*arguments: str) -> int:
    command = [sys.executable, "-c", _PEAK, *arguments]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


if __name__ == "__main__":
    main()
