"""The main job on the models that ship: export, build engines, verify; `make demo` runs it.

Everything lands in build/demo/. Ends with one table, and with exit code 1 if any row failed.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from rich.text import Text

import rnnx
from rnnx.cli.render import byte_size, print_table
from rnnx.parity import OutputParity, ParityRow
from rnnx_runtime.sidecar import Range

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
    rows: list[tuple[object, ...]] = []
    passed = True
    for name in MODELS:
        for form in FORMS:
            report = _verified(name, form)
            passed &= bool(report)
            rows += _rows(name, form, report)
    columns = ("model", "form", "backend", "status", "output", ">max error", ">float32's own", ">p50 ms", "reason")
    print_table("Every backend against PyTorch in float64", columns, rows)
    sys.exit(0 if passed else 1)


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
    return rnnx.verify(path, rnnx.VerifyOptions(checkpoint=checkpoint, engine=engine.path, sizes=sizes))


def _rows(name: str, form: str, report: rnnx.VerificationReport) -> Iterator[tuple[object, ...]]:
    latencies = {row.backend: f"{row.p50_ms:.3f}" for row in report.latency.rows} if report.latency else {}
    for row in report.parity.rows:
        head = (name, form, row.backend, _status(row))
        if not row.outputs:
            yield (*head, "", "", "", "", row.reason)
        for output in row.outputs:
            yield (*head, output.output, *_errors(output), latencies.get(row.backend, ""), row.reason)


def _status(row: ParityRow) -> Text:
    return Text(row.status, style=COLOURS[row.status])


def _errors(output: OutputParity) -> tuple[str, str]:
    return f"{output.max_error:.1e}", f"{output.float32_error:.1e}"


def _say(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    main()
