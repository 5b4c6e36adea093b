"""Model classes of public libraries through rnnx and both modes of torch.onnx: `python benchmarks/library_models.py`.

The libraries go into `.venv-libraries`, made on the first call from `library_requirements.txt`, beside the versions of
`constraints.txt`. Each export runs in a process of its own, with random weights.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
from library_classes import CLASSES
from rounds import RESULTS, write_result

from rnnx.cli.render import print_table

ROOT = Path(__file__).parents[1]
VENV = ROOT / ".venv-libraries"
TRIAL = Path(__file__).with_name("library_trial.py")
REQUIREMENTS = Path(__file__).with_name("library_requirements.txt")
TITLES = {"rnnx": "rnnx", "dynamo": "torch.onnx, dynamo", "torchscript": "torch.onnx, TorchScript"}

Row = dict[str, Any]


@click.command()
@click.option("--class", "names", multiple=True, help="one class; all when left out, and written down then alone")
@click.option("--exporter", "exporters", multiple=True, type=click.Choice(list(TITLES)), help="all when left out")
@click.option("--timeout", default=300.0, help="seconds for each export")
@click.option("--markdown", is_flag=True, help="print the written results as the README's table and measure nothing")
def main(names: tuple[str, ...], exporters: tuple[str, ...], timeout: float, markdown: bool) -> None:
    """Install, export, compare, write down and print."""
    if markdown:
        print(markdown_table(json.loads((RESULTS / "library_models.json").read_text())["rows"]))
        return
    _install()
    rows = [_row(name, exporters or tuple(TITLES), timeout) for name in names or CLASSES]
    if not names and not exporters:
        write_result("library_models", "python benchmarks/library_models.py", {"rows": rows})
    print_table("Classes of libraries", ("class", *(f"~{title}" for title in TITLES.values())), map(_cells, rows))
    print(_tally(rows))


def markdown_table(rows: list[Row]) -> str:
    """The results as the README has them."""
    lines = ["| class | " + " | ".join(TITLES.values()) + " |", "|---|" + "---|" * len(TITLES)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in _cells(row)) + " |" for row in rows]
    return "\n".join(lines)


def _install() -> None:
    """The libraries in an environment of their own, without the gigabytes that some of them ask for beside torch."""
    done = VENV / ".installed"
    if done.exists() and done.stat().st_mtime > REQUIREMENTS.stat().st_mtime:
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
    constraint = ["--constraint", str(ROOT / "constraints.txt")]
    for arguments in (
        [*constraint, "torch", "setuptools<81", "wheel"],
        [*constraint, "--editable", f"{ROOT}[export,cpu]"],
        ["--no-deps", "--no-build-isolation", "--requirement", str(REQUIREMENTS)],
    ):
        subprocess.run([str(VENV / "bin/python"), "-m", "pip", "install", "--quiet", *arguments], check=True)
    for packages in VENV.glob("lib/python*/site-packages"):
        for extension in packages.glob("torchaudio/lib/*.so"):
            extension.unlink()  # built for CUDA alone, and no model class needs it
        shutil.rmtree(packages / "tests", ignore_errors=True)  # a library's, in the way of this project's
    done.touch()


def _row(name: str, exporters: tuple[str, ...], timeout: float) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        trials = {exporter: _trial(exporter, name, folder, timeout) for exporter in exporters}
    print(f"{name}: " + ", ".join(f"{key} {trial['verdict']}" for key, trial in trials.items()), file=sys.stderr)
    return {"class": name, "library": CLASSES[name].library, **trials}


def _trial(exporter: str, name: str, folder: str, timeout: float) -> Row:
    command = [str(VENV / "bin/python"), str(TRIAL), exporter, name, folder]
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "examples")))
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={**os.environ, "PYTHONPATH": paths},
        )
    except subprocess.TimeoutExpired:
        return {"verdict": "refused", "detail": f"no end within {timeout:g} s"}
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"verdict": "refused", "detail": f"the process ended with {done.returncode}: {last}"[:300]}
    result: Row = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def _tally(rows: list[Row]) -> str:
    """How many classes each exporter has right."""
    counts = {key: sum(row.get(key, {}).get("verdict") == "right" for row in rows) for key in TITLES}
    return f"right of {len(rows)}: " + ", ".join(f"{TITLES[key]} {count}" for key, count in counts.items())


def _cells(row: Row) -> tuple[str, ...]:
    return (row["class"], *(_cell(row.get(exporter)) for exporter in TITLES))


def _cell(trial: Row | None) -> str:
    if trial is None:
        return ""
    if trial["verdict"] == "right":
        return f"right, {trial['export_s']:.1f} s"
    detail = trial["detail"]
    return f"{trial['verdict']}: {detail if len(detail) <= 90 else detail[:87].rstrip() + '…'}"


if __name__ == "__main__":
    main()
