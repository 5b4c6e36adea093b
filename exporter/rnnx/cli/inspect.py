"""`rnnx inspect`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rnnx.cli.render import print_json, print_line, print_table

if TYPE_CHECKING:
    from rnnx.weights.recurrence import RecurrentModule


@click.command("inspect", short_help="What is in a checkpoint, .onnx or .plan.")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def command(path: Path, as_json: bool) -> None:
    """Show what is in PATH: recurrent layers of a checkpoint, the contract of an .onnx or .plan."""
    from rnnx.inspection import CheckpointInspection, inspect, json_from_inspection

    inspection = inspect(path)
    if as_json:
        print_json(json_from_inspection(inspection))
    elif isinstance(inspection, CheckpointInspection):
        columns = ("module", "type", ">input", ">hidden", ">layers", ">directions", "bias", "dtype", ">parameters")
        rows = [_row(module) for module in inspection.modules]
        print_table(str(path), columns, rows, caption=f"{inspection.other_tensors} other tensors")
        for prefix, reason in inspection.broken.items():
            print_line(f"not usable, {prefix or '(root)'}: {reason}")
    else:
        print_table(str(path), ("", ""), inspection.rows)


def _row(module: "RecurrentModule") -> tuple[object, ...]:
    projected = module.is_projected
    hidden = f"{module.hidden_size} (h {module.projection_size})" if projected else module.hidden_size
    sizes = (module.input_size, hidden, module.layers, module.directions)
    bias = "yes" if module.bias else "no"
    return (module.shown_prefix, module.type_name, *sizes, bias, module.dtype, f"{module.parameters:,}")
