"""Model classes of public libraries through rnnx and both modes of torch.onnx: `python benchmarks/library_models.py`.

The libraries go into `.venv-libraries`, made on the first call from `library_requirements.txt`, beside the versions of
`constraints.txt`. Each export runs in a process of its own, with random weights; its seconds are the processor's.
"""

import json
import os
import shutil
import subprocess
import sys
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
@click.option("--seconds", default=120, help="of the processor, for each export and its comparison")
@click.option("--jobs", default=2, help="processes at a time")
@click.option("--markdown", is_flag=True, help="print the written results as the README's table and measure nothing")
def main(names: tuple[str, ...], exporters: tuple[str, ...], seconds: int, jobs: int, markdown: bool) -> None:
    """Install, export, compare, write down and print."""
    if markdown:
        print(markdown_table(json.loads((RESULTS / "library_models.json").read_text())["rows"]))
        return
    _install()
    rows = _rows(names or tuple(CLASSES), exporters or tuple(TITLES), seconds, jobs)
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


def _rows(names: tuple[str, ...], exporters: tuple[str, ...], seconds: int, jobs: int) -> list[Row]:
    """A row for each class, with what each exporter gave."""
    rows: dict[str, Row] = {name: {"class": name, "library": CLASSES[name].library} for name in names}
    command = [str(VENV / "bin/python"), str(TRIAL), str(jobs), str(seconds), ",".join(exporters), *names]
    paths = os.pathsep.join(str(ROOT / folder) for folder in ("exporter", "runtime", ".", "examples"))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as trials:
        for line in trials.stdout or ():
            trial = json.loads(line)
            name, exporter = trial.pop("class"), trial.pop("exporter")
            rows[name][exporter] = trial
            print(f"{name}: {exporter} {trial['verdict']}", file=sys.stderr)
    if trials.returncode:
        raise click.ClickException(f"{TRIAL.name} ended with {trials.returncode}")
    return list(rows.values())


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
