"""What export costs: start-up, wall time, memory, and torch.onnx beside it: `python benchmarks/export_cost.py`.

`rnnx --help` and the whole export process are timed from outside, interpreter start included. Peak memory is that of a
process that exports, over one that only imports the same packages, against the size of the weights (Linux: VmHWM, which
unlike `ru_maxrss` does not inherit the parent's peak).
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from rounds import write_result
from safetensors.torch import save_file

import rnnx
from rnnx.cli.render import print_table

RNNX = Path(sys.executable).with_name("rnnx")
LARGE = {"input_size": 2048, "hidden_size": 2048, "num_layers": 3}
"""An LSTM with 384 MiB of weights, so that they and not the imports decide the peak."""

_PEAK = """
import sys
from pathlib import Path
import numpy, onnx, onnxruntime, safetensors, spox
import rnnx.exporting.exporter, rnnx.graphs.onnx_writer
if len(sys.argv) > 1:
    rnnx.export(sys.argv[1], sys.argv[2])
status = Path("/proc/self/status").read_text().splitlines()
print(next(1024 * int(line.split()[1]) for line in status if line.startswith("VmHWM")))
"""


def main() -> None:
    """Measure, write down and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = {**_start(), **_process(folder), **_torch_onnx(folder), **_memory(folder)}
    write_result("export_cost", "python benchmarks/export_cost.py", data)
    print_table("Export", ("", ">"), list(data.items()))


def _start() -> dict[str, Any]:
    return {"help_s": _median_seconds([str(RNNX), "--help"], 11)}


def _process(folder: Path) -> dict[str, Any]:
    checkpoint = folder / "lstm.safetensors"
    save_file(torch.nn.LSTM(256, 256, num_layers=3).state_dict(), checkpoint)
    command = [str(RNNX), "export", str(checkpoint), "-o", str(folder / "lstm.onnx")]
    return {"export_process_s": _median_seconds(command, 7)}


def _torch_onnx(folder: Path) -> dict[str, Any]:
    """Both exporters in this process on the same three-layer module, in turns; the first of each is warm-up."""
    module = torch.nn.LSTM(256, 256, num_layers=3).eval()
    example = (torch.randn(20, 1, 256),)
    pairs = []
    for turn in range(6):
        start = time.perf_counter()
        rnnx.export(module, folder / f"ours-{turn}.onnx")
        middle = time.perf_counter()
        torch.onnx.export(module, example, folder / f"theirs-{turn}.onnx", dynamo=True, verbose=False)
        pairs.append((middle - start, time.perf_counter() - middle))
    return {
        "export_in_process_s": round(statistics.median(ours for ours, _ in pairs[1:]), 4),
        "torch_onnx_in_process_s": round(statistics.median(theirs for _, theirs in pairs[1:]), 3),
        "times_faster": round(statistics.median(theirs / ours for ours, theirs in pairs[1:]), 1),
    }


def _memory(folder: Path) -> dict[str, Any]:
    checkpoint = folder / "large.safetensors"
    save_file(torch.nn.LSTM(**LARGE).state_dict(), checkpoint)
    weights = checkpoint.stat().st_size
    imports, export = _peak(), _peak(str(checkpoint), str(folder / "large.onnx"))
    return {
        "weights_mib": round(weights / 2**20, 1),
        "imports_peak_mib": round(imports / 2**20, 1),
        "export_peak_mib": round(export / 2**20, 1),
        "peak_over_imports_in_weights": round((export - imports) / weights, 2),
    }


def _peak(*arguments: str) -> int:
    command = [sys.executable, "-c", _PEAK, *arguments]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def _median_seconds(command: list[str], runs: int) -> float:
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
    return round(statistics.median(seconds), 3)


if __name__ == "__main__":
    main()
