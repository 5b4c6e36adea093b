"""How an export looks, of a layer and of a whole model."""

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rnnx.cli.render import byte_size, print_table

if TYPE_CHECKING:
    from rnnx.decoders.exporting import DecoderExportReport
    from rnnx.exporting.exporter import ExportReport
    from rnnx.exporting.factory_export import FactoryExportReport
    from rnnx.tracing.exporting import ModelExportReport
    from rnnx_runtime.contract import Contract, Recurrence


def print_layer_export(report: "ExportReport") -> None:
    """Print what was written of a layer or cell on stdout."""
    contract = report.contract
    rows = [
        ("source", f"{contract.source.file} · {report.module.shown_prefix} · {report.module.type_name}"),
        ("weights", f"{report.module.dtype} in the source, {contract.precision} in the graph"),
        ("form", f"{contract.layer().form}, {contract.layer().formulation}, opset {contract.versions['opset']}"),
        *_tensors(contract),
        ("nodes", ", ".join(f"{count} {op}" for op, count in report.nodes.items())),
        ("size", byte_size(report.bytes)),
        *(("check", check) for check in report.checks),
        ("golden", report.golden),
    ]
    print_table(str(report.path), ("", ""), rows)


def print_model_export(report: "FactoryExportReport") -> None:
    """Print what was written of a whole model on stdout: its names, its recurrent layers, what to know of it."""
    contract, model = report.model.contract, report.model
    rows = [
        ("source", f"{report.source} · {contract.source.file}"),
        ("weights", report.weights),
        ("graph", f"{contract.precision}, opset {contract.versions['opset']}"),
        *_decoding(model),
        *_tensors(contract),
        *(("recurrent", _recurrent(part)) for part in contract.recurrent),
        *(("state", f"{pair.input} → {pair.output}") for pair in contract.states),
        *(("lengths", name) for name in contract.lengths),
        ("nodes", ", ".join(f"{count} {op}" for op, count in model.nodes.items())),
        ("size", byte_size(model.bytes)),
        *(("note", note) for note in (*report.notes, *model.notes)),
        *(("check", check) for check in model.checks),
        ("golden", model.golden),
    ]
    print_table(str(model.path), ("", ""), rows)


def json_from_model_export(report: "FactoryExportReport") -> dict[str, Any]:
    """The report as plain data, of the same keys as a layer's where both have them."""
    data = dataclasses.asdict(report.model)
    return {**data, "source": report.source, "weights": report.weights, "notes": [*report.notes, *report.model.notes]}


def _tensors(contract: "Contract") -> Iterator[tuple[str, str]]:
    yield from (("input", f"{spec.name} {spec.dtype} {spec.shape}") for spec in contract.inputs)
    yield from (("output", f"{spec.name} {spec.dtype} {spec.shape}") for spec in contract.outputs)


def _decoding(model: "ModelExportReport | DecoderExportReport") -> Iterator[tuple[str, str]]:
    """How an autoregressive decoder is written, and what building its engine is forecast to cost."""
    part, expected = model.contract.decoder, getattr(model, "forecast", None)
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
