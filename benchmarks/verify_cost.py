"""What a verification costs and how much of it is rnnx's own: `python benchmarks/verify_cost.py`.

A bidirectional LSTM of two layers, H = 256, with lengths, by the quick matrix without latency: every row that runs
here, the parsed network included. The whole process is timed from outside, interpreter start included. Of the time of
`rnnx.verify` the report says what the truth and each backend took; the rest is rnnx's own: its processes, comparing,
checking.
"""

import json
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
RUNS = 5


def main() -> None:
    """Measure, write down and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_file(torch.nn.LSTM(256, 256, 2, bidirectional=True).state_dict(), folder / "lstm.safetensors")
        rnnx.export(folder / "lstm.safetensors", folder / "lstm.onnx", rnnx.ExportOptions(lengths=True))
        runs = [_run(folder) for _ in range(RUNS)]
    data = {name: round(statistics.median(run[name] for run in runs), 3) for name in runs[0]}
    write_result("verify_cost", "python benchmarks/verify_cost.py", data)
    print_table("Verify", ("", ">"), list(data.items()))


def _run(folder: Path) -> dict[str, float]:
    report = folder / "report.json"
    arguments = ["--checkpoint", str(folder / "lstm.safetensors"), "--no-latency"]
    start = time.perf_counter()
    subprocess.run(
        [str(RNNX), "verify", str(folder / "lstm.onnx"), *arguments, "--json", str(report)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    process_s = time.perf_counter() - start
    seconds: dict[str, Any] = json.loads(report.read_text())["seconds"]
    total = sum(seconds.values())
    shares = {f"{name}_s": value for name, value in seconds.items()}
    return {"process_s": process_s, "verify_s": total, **shares, "own_percent": 100 * seconds["rnnx"] / total}


if __name__ == "__main__":
    main()
