"""`rnnx adopt`."""

import dataclasses
from pathlib import Path
from typing import Any

import click

from rnnx.cli.option_groups import GroupedCommand
from rnnx.cli.parameters import ArtifactFile, tensor_names_from_texts
from rnnx.cli.render import print_json
from rnnx.cli.standard_streams import importing

FILE = click.Path(path_type=Path)

GROUPS = {
    "What PATH is": ("states", "lengths", "sizes", "values", "constants"),
    "Truth": ("checkpoint", "module", "names", "batch_first", "nonlinearity", "model"),
}


@click.command("adopt", cls=GroupedCommand, groups=GROUPS, short_help="Another exporter's .onnx to a model of rnnx.")
@click.argument("path", type=FILE)
@click.option("-o", "--output", type=ArtifactFile(), required=True, help="The .onnx to write.")
@click.option(
    "--state",
    "states",
    multiple=True,
    metavar="IN=OUT",
    help="An input of the file and the output that the next call takes for it; repeatable.",
)
@click.option("--lengths", multiple=True, metavar="NAME", help="An input that holds sequence lengths; repeatable.")
@click.option(
    "--size",
    "sizes",
    multiple=True,
    metavar="DIM=N",
    help="A size to try a free dim at: its name in the file, B, T or INPUT.AXIS; repeatable.",
)
@click.option(
    "--value",
    "values",
    multiple=True,
    metavar="NAME=LOW..HIGH",
    help="The values of an input, such as tokens=0..99; repeatable.",
)
@click.option(
    "--constant",
    "constants",
    multiple=True,
    metavar="NAME=VALUE",
    help="Fix an input of the file that never changes, such as sr=16000; repeatable.",
)
@click.option("--checkpoint", type=FILE, help="The weights of the layer that PATH is, or of the module of --model.")
@click.option("--module", metavar="PREFIX", help="Layer or cell in the checkpoint.")
@click.option(
    "--map",
    "names",
    multiple=True,
    callback=tensor_names_from_texts,
    metavar="NAME=TENSOR",
    help="PATH's tensor for the layer's x, h0, c0, lengths, output, hn or cn; repeatable.",
)
@click.option("--batch-first", is_flag=True, help="The layer's x and output are (B, T, ...).")
@click.option("--nonlinearity", type=click.Choice(["tanh", "relu"]), help="Of a plain RNN, what it applies.")
@click.option("--model", metavar="PACKAGE.MODULE:FACTORY", help="What makes the module that PATH was exported from.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(path: Path, output: Path, as_json: bool, **others: Any) -> None:
    """Make a model of rnnx of PATH, a recurrent .onnx of any exporter.

    Reads the graph, tries in ONNX Runtime what it suggests (states, lengths, free dims), and writes OUTPUT: the same
    weights with a contract, sealed. With --checkpoint or --model its golden values are those of PyTorch in float64, and
    a PATH that does not equal them is refused; else they are its own in ONNX Runtime in float32.
    """
    from rnnx.adopting.adopt_options import AdoptOptions
    from rnnx.adopting.adoption import adopt
    from rnnx.cli import adopt_values
    from rnnx.cli.adopt_tables import print_adoption

    own = {
        "states": adopt_values.names_from_texts(others["states"]),
        "sizes": adopt_values.integers_from_texts(others["sizes"]),
        "values": adopt_values.ranges_from_texts(others["values"]),
        "constants": adopt_values.constants_from_texts(others["constants"]),
    }
    with importing(others["model"]):
        report = adopt(path, output, AdoptOptions(**{**others, **own}))
    print_json(dataclasses.asdict(report)) if as_json else print_adoption(report)
