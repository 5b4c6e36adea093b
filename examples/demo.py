"""The main job on the models that ship: export, build engines, verify; `make demo` runs it.

Everything lands in build/demo/, an HTML report for each model and form with it. Ends with one table, and with exit code
1 if anything failed.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from rich.text import Text

import rnnx
from rnnx.cli.render import byte_size, print_table
from rnnx.parity.parity import OutputParity, ParityRow
from rnnx.reports.writing import write_reports
from rnnx_runtime.files.sidecar import Range

ROOT = Path(__file__).parent.parent
OUTPUT = ROOT / "build" / "demo"
MODELS = ("g2p-lstm", "g2p-gru")
FORMS = {
    "encoder": rnnx.ExportOptions(module="encoder", lengths=True),
    "step": rnnx.ExportOptions(module="decoder", form="step"),
    "unrolled": rnnx.ExportOptions(module="decoder", form="unrolled", steps=16),
}
BATCH, TIME = Range(min=1, opt=8, max=64), Range(min=1, opt=12, max=64)
COLOURS = {"pass": "green", "fail": "bold red", "skip": "yellow"}


def main() -> None:
    """Run every model and form, then print one table of all of them."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    reports = {(name, form): _verified(name, form) for name in MODELS for form in FORMS}
    reasons: list[str] = []
    rows = [row for (name, form), report in reports.items() for row in _rows(name, form, report, reasons)]
    columns = ("model", "form", "backend", "status", ">output", ">hn", ">cn", ">p50 ms")
    print_table("Largest error of each backend / of PyTorch float32, both against PyTorch in float64", columns, rows)
    for number, reason in enumerate(reasons, 1):
        print(f"[{number}] {reason}")
    verdicts: list[str] = [row.status for report in reports.values() for row in report.parity.rows]
    count = ", ".join(f"{verdicts.count(status)} {status}" for status in COLOURS)
    print(f"{count}; models, engines, golden files and HTML reports are in {OUTPUT.relative_to(ROOT)}/")
    sys.exit(0 if all(reports.values()) else 1)


def _verified(name: str, form: str) -> rnnx.VerificationReport:
    """Export, build and verify one form of one model, a line on stderr for each."""
    checkpoint, path = ROOT / "models" / name / "model.safetensors", OUTPUT / f"{name}-{form}.onnx"
    export = rnnx.export(checkpoint, path, FORMS[form])
    _say(f"{path.name}: {byte_size(export.bytes)}, {sum(export.nodes.values())} nodes")
    dims = {"B": BATCH} | ({"T": TIME} if form == "encoder" else {})
    engine = rnnx.build_engine(path, path.with_suffix(".plan"), rnnx.EngineOptions(profiles=(dims,), tf32=False))
    sidecar = engine.sidecar
    built = f"{sidecar.flavor} {sidecar.version} for {', '.join(sidecar.targets)}, built in {engine.build_s:.1f} s"
    _say(f"{engine.path.name}: {byte_size(engine.bytes)}, {engine.layers} layers, {built}")
    sizes = {"B": 1, "T": 12} if form == "encoder" else {"B": 1}
    report = rnnx.verify(path, rnnx.VerifyOptions(checkpoint=checkpoint, engine=engine.path, sizes=sizes))
    write_reports(report, {"html": path.with_suffix(".html")})
    return report


def _rows(name: str, form: str, report: rnnx.VerificationReport, reasons: list[str]) -> Iterator[tuple[object, ...]]:
    latencies = {row.backend: f"{row.p50_ms.value:.3f}" for row in report.latency.rows} if report.latency else {}
    for row in report.parity.rows:
        errors = {output.output: _errors(output) for output in row.outputs}
        cells = [errors.get(output, "") for output in ("output", "hn", "cn")]
        yield (name, form, row.backend, _status(row, reasons), *cells, latencies.get(row.backend, ""))


def _status(row: ParityRow, reasons: list[str]) -> Text:
    """The verdict, with the number of its reason where it has one."""
    if row.reason and row.reason not in reasons:
        reasons.append(row.reason)
    note = f" [{reasons.index(row.reason) + 1}]" if row.reason else ""
    return Text(row.status + note, style=COLOURS[row.status])


def _errors(output: OutputParity) -> str:
    return f"{output.max_error:.1e} / {output.float32_error:.1e}"


def _say(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    main()
