"""`rnnx inspect`."""

from pathlib import Path

import click

from rnnx.cli.render import print_json, print_table


@click.command("inspect")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def command(path: Path, as_json: bool) -> None:
    """Show what is in PATH: recurrent layers of a checkpoint, the contract of an .onnx or .plan."""
    from rnnx.inspection import CheckpointInspection, inspect_path, json_from_inspection

    inspection = inspect_path(path)
    if as_json:
        print_json(json_from_inspection(inspection))
    elif isinstance(inspection, CheckpointInspection):
        columns = ("module", "type", ">input", ">hidden", ">layers", ">directions", "bias", "dtype", ">parameters")
        rows = [
            (m.shown_prefix, m.type_name, m.input_size, _hidden(m.hidden_size, m.projection_size), m.layers, m.directions,
             "yes" if m.bias else "no", m.dtype, f"{m.parameters:,}")
            for m in inspection.modules
        ]  # fmt: skip
        print_table(str(path), columns, rows, caption=f"{inspection.other_tensors} other tensors")
    else:
        print_table(str(path), ("", ""), inspection.rows)


def _hidden(hidden: int, projection: int) -> str:
    return str(hidden) if hidden == projection else f"{hidden} (h {projection})"
