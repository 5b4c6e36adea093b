"""`rnnx export`."""

import dataclasses
from pathlib import Path

import click

from rnnx.cli.render import byte_size, print_json, print_table


@click.command("export", short_help="Checkpoint to ONNX.")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The .onnx to write.")
@click.option("--module", metavar="PREFIX", help="Key prefix of the layer or cell, when the checkpoint has several.")
@click.option(
    "--form",
    type=click.Choice(["encoder", "step", "unrolled"]),
    help="Graph form; default: encoder for a layer, step for a cell.",
)
@click.option("--steps", type=int, metavar="N", help="Steps of the unrolled form.")
@click.option("--batch-first", is_flag=True, help="x and output are (B, T, ...); a checkpoint does not say.")
@click.option(
    "--nonlinearity",
    type=click.Choice(["tanh", "relu"]),
    help="Of a plain RNN, tanh (default) or relu; a checkpoint does not say.",
)
@click.option("--state-inputs/--no-state-inputs", default=True, help="Initial states as inputs (default) or zeros.")
@click.option("--lengths", is_flag=True, help="Add the input lengths (B), equal to PyTorch's packed sequences.")
@click.option("--opset", type=int, metavar="N", help="ONNX opset, 17 (default) to 23.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(
    source: Path,
    output: Path,
    module: str | None,
    form: str | None,
    steps: int | None,
    batch_first: bool,
    nonlinearity: str | None,
    state_inputs: bool,
    lengths: bool,
    opset: int | None,
    as_json: bool,
) -> None:
    """Export a trained LSTM, GRU or RNN from SOURCE, a .safetensors or .pt checkpoint, to ONNX.

    Beside OUTPUT lies its golden file, with which `rnnx verify` works on a host without PyTorch.
    """
    from rnnx.export_options import ExportOptions
    from rnnx.exporter import export

    options = ExportOptions(
        module=module,
        form=form,  # type: ignore[arg-type] # click.Choice has checked it
        steps=steps,
        batch_first=batch_first,
        nonlinearity=nonlinearity,  # type: ignore[arg-type] # click.Choice has checked it
        state_inputs=state_inputs,
        lengths=lengths,
        opset=opset,
    )
    report = export(source, output, options)
    if as_json:
        print_json(dataclasses.asdict(report))
        return
    contract = report.contract
    rows = [
        ("source", f"{contract.source.file} · {report.module.shown_prefix} · {report.module.type_name}"),
        ("weights", f"{report.module.dtype} in the source, {contract.precision} in the graph"),
        ("form", f"{contract.form}, {contract.formulation}, opset {contract.versions['opset']}"),
        *(("input", f"{spec.name} {spec.dtype} {spec.shape}") for spec in contract.inputs),
        *(("output", f"{spec.name} {spec.dtype} {spec.shape}") for spec in contract.outputs),
        ("nodes", ", ".join(f"{count} {op}" for op, count in report.nodes.items())),
        ("size", byte_size(report.bytes)),
        *(("check", check) for check in report.checks),
        ("golden", report.golden),
    ]
    print_table(str(report.path), ("", ""), rows)
