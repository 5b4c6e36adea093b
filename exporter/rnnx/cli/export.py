"""`rnnx export`."""

import dataclasses
from pathlib import Path
from typing import Any

import click

from rnnx.cli.option_groups import GroupedCommand
from rnnx.cli.parameters import ArtifactFile
from rnnx.cli.render import print_json
from rnnx.cli.source_names import OF_DECODERS, OF_FACTORIES, OF_LAYERS
from rnnx.cli.standard_streams import importing

FILE = click.Path(path_type=Path)

GROUPS = {
    "A layer or cell in a checkpoint": OF_LAYERS,
    "A model's factory": OF_FACTORIES,
    "A layer or a model": ("stateful", "opset"),
    "Graph form, and decoders": ("form", *OF_DECODERS),
}


class _ExportCommand(GroupedCommand):
    """Takes `--stateful=recurrent` beside `--stateful`, which takes no value, so that a source may follow it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The arguments, that one under its other name."""
        named = ["--recurrent-states" if own == "--stateful=recurrent" else own for own in args]
        return super().parse_args(ctx, named)


@click.command("export", cls=_ExportCommand, groups=GROUPS, short_help="Checkpoint or model to ONNX.")
@click.argument("source")
@click.option("-o", "--output", type=ArtifactFile(), required=True, help="The .onnx to write.")
@click.option("--module", metavar="PREFIX", help="Key prefix of the layer or cell, when the checkpoint has several.")
@click.option(
    "--form",
    type=click.Choice(["encoder", "step", "unrolled", "loop"]),
    help="Graph form; default: encoder for a layer, step for a cell, and none for a model that is no decoder.",
)
@click.option("--steps", type=int, metavar="N", help="Steps of the unrolled form, most steps of the loop.")
@click.option("--batch-first", is_flag=True, help="x and output are (B, T, ...); a checkpoint does not say.")
@click.option(
    "--nonlinearity",
    type=click.Choice(["tanh", "relu"]),
    help="Of a plain RNN, tanh (default) or relu; a checkpoint does not say.",
)
@click.option("--lengths", is_flag=True, help="Add the input lengths (B), equal to PyTorch's packed sequences.")
@click.option("--checkpoint", type=FILE, help="Weights to load into the model of a factory.")
@click.option("--state-dict", metavar="NAME", help="Which state dict of the checkpoint, such as ema, if several fit.")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="NAME:DTYPE:DIMS[:LOW..HIGH]",
    help="An input to try a factory's model with, such as tokens:int64:B,T:0..99; repeatable.",
)
@click.option(
    "--stateful/--no-stateful",
    default=None,
    help="Recurrent states as inputs and outputs, and of a model all that it needs to take a sequence in chunks; or "
    "from zeros; default: as inputs of a layer, from zeros in a model.",
)
@click.option(
    "--recurrent-states",
    is_flag=True,
    help="As --stateful, with the states of recurrent layers alone; also --stateful=recurrent.",
)
@click.option(
    "--state",
    "states",
    multiple=True,
    metavar="IN=OUT",
    help="An input of the model and the output that the next call takes for it; repeatable.",
)
@click.option("--static", is_flag=True, help="Fix every dim of the model at the example's size.")
@click.option(
    "--constant",
    "constants",
    multiple=True,
    metavar="NAME=VALUE",
    help="Fix an input of the model that never changes, such as start=true; repeatable.",
)
@click.option(
    "--deterministic",
    is_flag=True,
    help="Leave out dropout that is always on, and take noise at its mean, zero mostly.",
)
@click.option("--output-names", metavar="NAME,NAME", help="Names of the model's outputs, in their order.")
@click.option(
    "--feed",
    type=click.Choice(["argmax", "teacher"]),
    default="argmax",
    show_default=True,
    help="What an unrolled decoder reads: its own tokens or given ones.",
)
@click.option("--start-token", type=int, metavar="N", help="The decoder's first token, no input then.")
@click.option("--end-token", type=int, metavar="N", help="The token that ends a row of the decoder.")
@click.option("--pad-token", type=int, metavar="N", help="A row's tokens after its end; default: the end token.")
@click.option("--allow-large", is_flag=True, help="Unroll a decoder whose engine is forecast to take over a minute.")
@click.option("--opset", type=int, metavar="N", help="ONNX opset; default: 17 for a layer, 20 for a model.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_context
def command(ctx: click.Context, /, source: str, output: Path, as_json: bool, **_: Any) -> None:
    """Export a trained LSTM, GRU or RNN, or a model around them, to ONNX.

    SOURCE is a .safetensors, .pt or .pt2 file that has the layer's weights, or `package.module:factory`, which is
    imported as `python -m` would and returns the model; with --form, the model is a decoder. Beside OUTPUT lies its
    golden file, with which `rnnx verify` works on a host without PyTorch.
    """
    from rnnx.cli.export_tables import print_export
    from rnnx.cli.source_options import factory_options, layer_options
    from rnnx.exporting.exporter import export
    from rnnx.modules.factories import is_factory

    made = is_factory(source)
    options = factory_options(ctx) if made else layer_options(ctx)
    with importing(source if made else None):
        report = export(source, output, options)
    print_json(dataclasses.asdict(report)) if as_json else print_export(report)
