"""What simplifiers, optimizers, converters and quantizers leave of an export: `python benchmarks/post_processing.py`.

Four models are exported, passed through each tool of post_processing_tools.py, and the result is held to the export by
`rnnx verify --like` and sealed again where it passes. The tools go into `.venv-post-processing`, made on the first call
from `post_processing_requirements.txt`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from post_processing_tools import TOOLS
from rounds import RESULTS, write_result
from torch import nn

import rnnx
from rnnx import RnnxError, VerificationReport, VerifyOptions
from rnnx.cli.render import print_table
from rnnx.parity.results import CHECK_NAMES

ROOT = Path(__file__).parents[1]
VENV = ROOT / ".venv-post-processing"
SCRIPT = Path(__file__).with_name("post_processing_tools.py")
REQUIREMENTS = Path(__file__).with_name("post_processing_requirements.txt")

Row = dict[str, Any]


def main() -> None:
    """Export, process, verify, seal, write down and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", type=Path, help="an interpreter that has the tools, in place of the environment")
    parser.add_argument("--model", action="append", help="one model; all when left out, and written down then alone")
    parser.add_argument("--tool", action="append", help="one tool; all when left out")
    parser.add_argument("--markdown", action="store_true", help="print the written results and measure nothing")
    options = parser.parse_args()
    if options.markdown:
        print(markdown_table(json.loads((RESULTS / "post_processing.json").read_text())["rows"]))
        return
    python = options.python or _installed()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = _exported(folder)
        rows = [
            _row(python, tool, model, models[model], folder)
            for model in options.model or models
            for tool in options.tool or TOOLS
        ]
    if not (options.model or options.tool):
        write_result("post_processing", "python benchmarks/post_processing.py", {"tools": _versions(), "rows": rows})
    columns = ("model", "tool", "verify --like", "computes in", ">of its limit", "sealed")
    print_table("Exports, post-processed", columns, map(_cells, rows))
    for row in rows:
        if row["refused"] or row.get("why"):
            print(f"{row['model']}, {row['tool']}: {row['refused'] or row['why']}")


def markdown_table(rows: list[Row]) -> str:
    """The results as the README has them: what each tool leaves each export to compute in, and what it fails."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    lines = ["| tool | " + " | ".join(models) + " |", "|---|" + "---|" * len(models)]
    for tool in dict.fromkeys(row["tool"] for row in rows):
        cells = [_short(row) for row in rows if row["tool"] == tool]
        lines.append(f"| {tool} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _short(row: Row) -> str:
    if row["verdict"] == "pass" and row["sealed"]:
        return str(row["precision"])
    failed = [check for check in CHECK_NAMES if f" {check}: " in row.get("why", "")]
    reason = f"fails {' and '.join(failed)}" if failed else "values differ"
    what = "refused" if row["verdict"] != "fail" else f"{row['precision']}, {reason}"
    return f"{what}; sealed as such" if row["sealed"] else what


def _installed() -> Path:
    python, done = VENV / "bin/python", VENV / ".installed"
    if not done.exists() or done.stat().st_mtime <= REQUIREMENTS.stat().st_mtime:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--requirement", str(REQUIREMENTS)]
        subprocess.run(install, check=True)
        done.touch()
    return python


def _versions() -> dict[str, str]:
    lines = [line for line in REQUIREMENTS.read_text().splitlines() if "==" in line]
    return dict(line.split("==", 1) for line in lines)


def _exported(folder: Path) -> dict[str, Path]:
    """A projected LSTM with lengths, a bidirectional GRU, a whole model with lengths, and one that streams."""
    sys.path.insert(0, str(ROOT / "examples"))
    from model_shapes import SHAPES

    torch.manual_seed(0)
    layers = {
        "projected LSTM": nn.LSTM(8, 32, 2, proj_size=12),
        "bidirectional GRU": nn.GRU(8, 32, 2, bidirectional=True),
    }
    found = {name: folder / f"{name.split()[0]}.onnx" for name in (*layers, "tagger", "denoiser, streaming")}
    for name, layer in layers.items():
        rnnx.export(layer, found[name], rnnx.ExportOptions(lengths=True))
    for name in ("tagger", "denoiser, streaming"):
        shape = SHAPES[name.split(",")[0]]
        options = rnnx.ModelOptions(stateful=shape.stateful)
        rnnx.export(shape.make(32), found[name], options, example_inputs=shape.inputs(2, 9, 32))
    return found


def _row(python: Path, tool: str, model: str, path: Path, folder: Path) -> Row:
    out = folder / f"{path.stem}.{len(list(folder.iterdir()))}.onnx"
    row: Row = {"model": model, "tool": tool, "refused": "", "verdict": "", "sealed": False}
    call = [str(python), str(SCRIPT), tool, str(path), str(path.with_suffix(".golden.npz")), str(out)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    if done.returncode or not out.exists():
        return row | {"refused": (done.stderr.strip().splitlines() or ["no file"])[-1][:300]}
    try:
        report = rnnx.verify(out, VerifyOptions(like=path, latency=False))
        row |= _verdict(report)
        row["sealed"] = bool(rnnx.seal(out, out.with_name(f"sealed.{out.name}"), VerifyOptions(like=path)))
    except RnnxError as error:
        row |= {"verdict": row["verdict"] or "refused", "why": str(error)}
    print(f"{model}, {tool}: {row['refused'] or row['verdict']} {row.get('why', '')}", file=sys.stderr, flush=True)
    return row


def _verdict(report: VerificationReport) -> Row:
    lines = {row.backend: row for row in report.parity.rows}
    failed = [f"{own.backend} {own.check}: {own.detail}" for own in report.checks if own.status == "fail"]
    failed += [f"{own.backend} drift: {own.reason}" for own in report.drift if own.status == "fail"]
    why = [f"{row.backend}: {row.reason or 'values differ'}" for row in report.parity.rows if row.status == "fail"]
    why += [f"{own.backend}: {own.summary}" for own in report.diagnoses]
    why += failed
    own = lines["ort-cpu"]
    return {
        "verdict": "pass" if report else "fail",
        "precision": own.precision,
        "share": {"ort-cpu": max((result.share for result in own.results if result.closeness), default=None)},
        "rows": {name: row.status for name, row in lines.items() if not name.startswith("pytorch")},
        "findings": [f"{own.severity} {own.rule}" for own in report.findings],
        "why": "; ".join(why),
    }


def _cells(row: Row) -> tuple[str, ...]:
    share = (row.get("share") or {}).get("ort-cpu")
    return (
        row["model"],
        row["tool"],
        row["verdict"] or "the tool fails",
        row.get("precision", ""),
        f"{share:.0%}" if share is not None else "",
        "yes" if row["sealed"] else "no",
    )


if __name__ == "__main__":
    main()
