"""rnnx and both modes of torch.onnx on the models of `examples/model_shapes.py`: `python benchmarks/side_by_side.py`.

Each export runs in a process of its own, so that a crash and a hang are rows too: `exporter_trial.py`, which says what
right and wrong are. Files that are right then run in ONNX Runtime side by side, in turns, at one size with one thread.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
from exporter_trial import EXAMPLE, SIZES, TIMED, WAYS, WIDTH, feeds_of, session_of
from rounds import RESULTS, compare, write_result

from model_shapes import SHAPES
from rnnx.cli.render import print_table

TRIAL = Path(__file__).with_name("exporter_trial.py")
TITLES = {"rnnx": "rnnx", "dynamo": "torch.onnx, dynamo", "torchscript": "torch.onnx, TorchScript"}

VERDICTS = ("right", "wrong", "refused")

Row = dict[str, Any]


@click.command()
@click.option("--shape", "names", multiple=True, help="one model; all when left out, and written down then alone")
@click.option("--timeout", default=180.0, help="seconds for each export")
@click.option("--markdown", is_flag=True, help="print the written results as the README's table and measure nothing")
def main(names: tuple[str, ...], timeout: float, markdown: bool) -> None:
    """Measure, write down and print."""
    if markdown:
        print(markdown_table(json.loads((RESULTS / "side_by_side.json").read_text())))
        return
    with tempfile.TemporaryDirectory() as folder:
        rows = [_row(name, Path(folder), timeout) for name in names or SHAPES]
    data = {"width": WIDTH, "example": EXAMPLE, "compared_at": SIZES, "timed_at": TIMED, "threads": 1, "rows": rows}
    if not names:
        write_result("side_by_side", "python benchmarks/side_by_side.py", data)
    print_table("Whole models, exported", ("model", *(f"~{title}" for title in TITLES.values())), map(_cells, rows))


def markdown_table(data: dict[str, Any]) -> str:
    """The results as the README has them."""
    lines = ["| model | " + " | ".join(TITLES.values()) + " |", "|---|" + "---|" * len(TITLES)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in _cells(row)) + " |" for row in data["rows"]]
    return "\n".join(lines)


def _row(name: str, folder: Path, timeout: float) -> Row:
    trials = {exporter: _trial(exporter, name, folder, timeout) for exporter in WAYS}
    right = {exporter: folder / trial["file"] for exporter, trial in trials.items() if trial["verdict"] == "right"}
    if "rnnx" in right:
        _time(name, right, trials)
    for path in right.values():
        path.unlink()
    print(f"{name}: " + ", ".join(f"{key} {trial['verdict']}" for key, trial in trials.items()), file=sys.stderr)
    return {"model": name, **trials}


def _trial(exporter: str, name: str, folder: Path, timeout: float) -> Row:
    """The best of the ways to ask an exporter: the first that is right, else wrong before refused."""
    trials: list[Row] = []
    while (trial := _way(exporter, name, folder, timeout, len(trials))) is not None:
        trials.append(trial)
        if trial["verdict"] == "right" or "way" not in trial:
            break
    return min(trials, key=lambda trial: VERDICTS.index(trial["verdict"]))


def _way(exporter: str, name: str, folder: Path, timeout: float, number: int) -> Row | None:
    command = [sys.executable, str(TRIAL), exporter, name, str(folder), str(number)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return {"verdict": "refused", "detail": f"no end within {timeout:g} s", "export_s": timeout}
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"verdict": "refused", "detail": f"the process ended with {done.returncode}: {last}"[:300]}
    result: Row | None = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def _time(name: str, right: dict[str, Path], trials: dict[str, Row]) -> None:
    """Add the time of a run to each exporter that is right, and its share of rnnx's to the others."""
    runs = {}
    for exporter, path in right.items():
        session, feeds = session_of(path), feeds_of(path, SHAPES[name], *TIMED)
        runs[exporter] = lambda session=session, feeds=feeds: session.run(None, feeds)
    others = [exporter for exporter in right if exporter != "rnnx"]
    for exporter in others or ["rnnx"]:
        found = compare(runs["rnnx"], runs[exporter], rounds=25)
        trials["rnnx"]["run_us"] = round(found.base_us, 1)
        trials[exporter]["run_us"] = round(found.other_us, 1)
        trials[exporter]["ratio"] = round(found.ratio, 3)


def _cells(row: Row) -> tuple[str, ...]:
    return (row["model"], *(_cell(row[exporter]) for exporter in TITLES))


def _cell(trial: Row) -> str:
    """The verdict, the seconds of a first export and of a later one, the microseconds of a run or what is wrong."""
    seconds = f", {trial['export_s']:.1f} s" if "export_s" in trial else ""
    seconds += f" ({trial['again_s']:.1f})" if "again_s" in trial else ""
    if trial["verdict"] != "right":
        sizes = f" at {trial['wrong_sizes']} of {len(SIZES)} sizes" if "wrong_sizes" in trial else ""
        return f"{trial['verdict']}{sizes}{seconds}: {_short(trial['detail'])}"
    run = f", {trial['run_us']:.0f} µs" if "run_us" in trial else ""
    return f"right{seconds}{run}"


def _short(detail: str) -> str:
    return detail if len(detail) <= 110 else detail[:107].rstrip() + "…"


if __name__ == "__main__":
    main()
