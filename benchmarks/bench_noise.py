"""How runs of `rnnx bench` on an unchanged model differ, and what it says of them: `python benchmarks/bench_noise.py`.

Each trained model's encoder is measured several times in fresh processes, and every two runs are compared, the later
with the earlier: each change that is reported is a false one.
"""

import itertools
import math
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rounds import write_result

import rnnx
from rnnx.cli.render import print_table
from rnnx.reports.bench_json import json_from_bench, read_bench
from rnnx.timing.comparison import compare_benches
from rnnx.timing.figures import BenchReport

ROOT = Path(__file__).parents[1]
RUNS = 5


def main() -> None:
    """Measure both models, write the figures and the comparisons down and print them."""
    models = {name: _noise(_reports(ROOT / "models" / name)) for name in ("g2p-lstm", "g2p-gru")}
    write_result("bench_noise", "python benchmarks/bench_noise.py", {"runs": RUNS, "models": models})
    rows = [
        (name, found["pairs"], found["judged"], len(found["false_changes"]), found["largest_move"], found["deviation"])
        for name, found in models.items()
    ]
    columns = ("model", ">pairs", ">figures judged", ">false changes", ">largest move of the ratio", ">its deviation")
    print_table(f"{RUNS} runs of an unchanged model, every two compared", columns, rows)


def _reports(model: Path) -> list[BenchReport]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "encoder.onnx"
        rnnx.export(model / "model.safetensors", path, rnnx.ExportOptions(module="encoder", lengths=True))
        return [_bench(path, model / "model.safetensors", Path(folder) / f"{run}.json") for run in range(RUNS)]


def _bench(model: Path, checkpoint: Path, report: Path) -> BenchReport:
    command = ["rnnx", "bench", str(model), "--checkpoint", str(checkpoint), "--json", str(report)]
    command[0] = str(Path(sys.executable).with_name(command[0]))
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return read_bench(report)


def _noise(reports: list[BenchReport]) -> dict[str, Any]:
    """What differed between the runs, and the last of them whole but for the quantiles."""
    comparisons = [compare_benches(before, now) for before, now in itertools.combinations(reports, 2)]
    ratios = [
        row.ratio.value for report in reports for row in report.latency.rows if row.backend == "ort-cpu" and row.ratio
    ]
    last = json_from_bench(reports[-1])
    for row in last["latency"]["rows"]:
        del row["quantiles_ms"]
    return {
        "pairs": len(comparisons),
        "judged": sum(len(comparison.moves) for comparison in comparisons),
        "false_changes": [f"{m.backend} {m.subject} {m.change:+.1%}" for found in comparisons for m in found.moved],
        "ratios": ratios,
        "largest_move": round(max(ratios) / min(ratios) - 1, 4),
        "deviation": round(statistics.stdev(map(math.log, ratios)), 4),
        "other_work": [report.latency.rows[0].conditions["other work"] for report in reports],
        "last_report": {**last, "model": "encoder.onnx"},
    }


if __name__ == "__main__":
    main()
