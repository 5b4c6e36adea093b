"""How an export looks."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rnnx.cli.render import byte_size, print_table

if TYPE_CHECKING:
    from rnnx.graphs.export_report import ExportReport
    from rnnx_runtime.contract import Contract, Recurrence


def print_export(report: "ExportReport") -> None:
    """Print what was written on stdout: its names, its recurrent layers, what to know of it."""
    contract = report.contract
    rows = [
        ("source", report.source),
        ("weights", report.weights),
        *_forms(contract),
        *_decoding(report),
        *_tensors(contract),
        *_parts(contract),
        ("nodes", ", ".join(f"{count} {op}" for op, count in report.nodes.items())),
        ("size", byte_size(report.bytes)),
        *(("note", note) for note in report.notes),
        *(("check", check) for check in report.checks),
        ("golden", report.golden),
    ]
    print_table(str(report.path), ("", ""), rows)


def _forms(contract: "Contract") -> Iterator[tuple[str, str]]:
    opset = f"opset {contract.versions['opset']}"
    if contract.bare:
        yield "form", f"{contract.bare.form}, {contract.bare.formulation}, {opset}"
    else:
        yield "graph", f"{contract.precision}, {opset}"


def _parts(contract: "Contract") -> Iterator[tuple[str, str]]:
    """What a whole model has inside; a layer's names say it."""
    if contract.bare:
        return
    yield from (("recurrent", _recurrent(part)) for part in contract.recurrent)
    yield from (("state", f"{pair.input} → {pair.output}") for pair in contract.states)
    yield from (("lengths", name) for name in contract.lengths)


def _tensors(contract: "Contract") -> Iterator[tuple[str, str]]:
    yield from (("input", f"{spec.name} {spec.dtype} {spec.shape}") for spec in contract.inputs)
    yield from (("output", f"{spec.name} {spec.dtype} {spec.shape}") for spec in contract.outputs)


def _decoding(report: "ExportReport") -> Iterator[tuple[str, str]]:
    """How an autoregressive decoder is written, and what building its engine is forecast to cost."""
    part, expected = report.contract.decoder, report.forecast
    if part is not None:
        ends = f", a row ends at token {part.end_token}" if part.end_token is not None else ""
        yield "decoder", f"{part.form}{f', {part.steps} steps, {part.feed}' if part.steps else ''}{ends}"
    if expected is not None:
        yield "forecast", f"{expected.build_s:.1f} s to build, plan of {byte_size(expected.plan_bytes)}"


def _recurrent(part: "Recurrence") -> str:
    sizes = [f"{part.input_size} → {part.hidden_size}"]
    if part.projection_size != part.hidden_size:
        sizes.append(f"h {part.projection_size}")
    if part.form == "encoder":
        sizes.append(f"{part.layers} layer{'s' if part.layers > 1 else ''}")
        sizes.append("both directions" if part.directions == 2 else "one direction")
    kind = f"nn.{part.cell.upper()}{'' if part.form == 'encoder' else 'Cell'}"
    return f"{part.name or '(root)'} {kind} {', '.join(sizes)}: {part.formulation}"
