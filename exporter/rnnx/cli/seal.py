"""`rnnx seal`."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rnnx.cli.option_groups import GroupedCommand
from rnnx.cli.parameters import ArtifactFile, tensor_names_from_texts
from rnnx.cli.progress_bars import progress_bars
from rnnx.cli.render import byte_size, print_json, print_table
from rnnx.cli.standard_streams import importing
from rnnx.runners.row_names import ROW_NAMES
from rnnx.truths.matrix_names import MATRIX_NAMES

if TYPE_CHECKING:
    from rnnx.sealing.resealing import SealReport

FILE = click.Path(path_type=Path)
GROUPS = {"Truth": ("checkpoint", "model", "matrix")}


@click.command("seal", cls=GroupedCommand, groups=GROUPS, short_help="Seal what another tool made of a model.")
@click.argument("path", metavar="MODEL", type=FILE)
@click.option(
    "--like", type=FILE, required=True, metavar="ORIGINAL", help="The model of rnnx that MODEL was made from."
)
@click.option("-o", "--output", type=ArtifactFile(), required=True, help="The .onnx to write.")
@click.option(
    "--map",
    "names",
    multiple=True,
    callback=tensor_names_from_texts,
    metavar="NAME=TENSOR",
    help="MODEL's tensor for an input or output of ORIGINAL; repeatable.",
)
@click.option(
    "--backend",
    "backends",
    type=click.Choice(ROW_NAMES),
    multiple=True,
    help="Hold it to this row, not to ort-cpu; repeatable.",
)
@click.option("--checkpoint", type=FILE, help="The weights ORIGINAL was exported from, for more cases.")
@click.option(
    "--model", metavar="PACKAGE.MODULE:FACTORY", help="What makes the module of a whole ORIGINAL, for fresh inputs."
)
@click.option(
    "--matrix", type=click.Choice(MATRIX_NAMES), default="quick", show_default=True, help="How many cases and checks."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_context
def command(ctx: click.Context, /, path: Path, output: Path, as_json: bool, **others: Any) -> None:
    """Verify MODEL, which another tool made of ORIGINAL, and write it under ORIGINAL's contract where it passes.

    Such a tool is a simplifier, a quantizer, a converter to half precision or to another opset. OUTPUT takes and gives
    what ORIGINAL does, and its golden file lies beside it. Where the values differ, the tables of rnnx verify say how,
    nothing is written, and the exit code is 1.
    """
    from rnnx.cli.verification_tables import print_verification
    from rnnx.runners.verify_options import VerifyOptions
    from rnnx.sealing.resealing import seal

    with progress_bars() as bars, importing(others["model"]):
        report = seal(path, output, VerifyOptions(**others), listener=bars)
    if as_json:
        print_json({"sealed": bool(report), **dataclasses.asdict(report)})
    elif report:
        _print(path, report)
    else:
        print_verification(report.verification)
    if not report:
        ctx.exit(1)


def _print(path: Path, report: "SealReport") -> None:
    contract = report.contract
    rows = [
        ("made from", f"{path.name}, like {contract.source.file}"),
        ("graph", f"{contract.precision}, opset {contract.versions['opset']}"),
        ("nodes", ", ".join(f"{count} {op}" for op, count in (report.nodes or {}).items())),
        ("size", byte_size(report.bytes)),
        *(("change", change) for change in report.changes),
        ("check", f"rnnx verify, {report.verification.truth}: {'passed' if report.verification else 'values passed'}"),
        ("check", report.check),
        ("golden", report.golden),
    ]
    print_table(str(report.path), ("", ""), rows)
