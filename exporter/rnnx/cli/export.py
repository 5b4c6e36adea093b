"""`rnnx export`."""

import dataclasses
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from rnnx.cli.render import print_json
from rnnx.errors import OptionError

FILE = click.Path(path_type=Path)
_FOR_LAYERS = ("module", "form", "steps", "batch_first", "nonlinearity", "state_inputs", "lengths")
_FOR_MODELS = ("checkpoint", "inputs", "stateful", "static", "output_names")


@click.command("export", short_help="Checkpoint or model to ONNX.")
@click.argument("source")
@click.option("-o", "--output", type=FILE, required=True, help="The .onnx to write.")
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
@click.option("--checkpoint", type=FILE, help="Weights to load into the model of a factory.")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="NAME:DTYPE:DIMS[:LOW..HIGH]",
    help="An input to try a factory's model with, such as tokens:int64:B,T:0..99; repeatable.",
)
@click.option("--stateful", is_flag=True, help="The model's recurrent states as inputs and outputs, for streaming.")
@click.option("--static", is_flag=True, help="Fix every dim of the model at the example's size.")
@click.option("--output-names", metavar="NAME,NAME", help="Names of the model's outputs, in their order.")
@click.option("--opset", type=int, metavar="N", help="ONNX opset; default: 17 for a layer, 20 for a model.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_context
def command(ctx: click.Context, /, source: str, output: Path, as_json: bool, **options: Any) -> None:
    """Export a trained LSTM, GRU or RNN, or a model around them, to ONNX.

    SOURCE is a .safetensors, .pt or .pt2 file that has the layer's weights, or `package.module:factory`, which is
    imported as `python -m` would and returns the model. Beside OUTPUT lies its golden file, with which `rnnx verify`
    works on a host without PyTorch.
    """
    from rnnx.cli.export_tables import json_from_model_export, print_layer_export, print_model_export
    from rnnx.factories import is_factory

    if is_factory(source):
        _refuse(ctx, _FOR_LAYERS, "a model's factory", "a checkpoint")
        model = _export_model(source, output, options)
        print_json(json_from_model_export(model)) if as_json else print_model_export(model)
        return
    _refuse(ctx, _FOR_MODELS, "a checkpoint", "package.module:factory")
    layer = _export_layer(source, output, options)
    print_json(dataclasses.asdict(layer)) if as_json else print_layer_export(layer)


def _export_layer(source: str, output: Path, options: dict[str, Any]) -> Any:
    from rnnx.export_options import ExportOptions
    from rnnx.exporter import export

    chosen = {name: options[name] for name in (*_FOR_LAYERS, "opset")}
    return export(source, output, ExportOptions(**chosen))


def _export_model(source: str, output: Path, options: dict[str, Any]) -> Any:
    from rnnx.factories import importable
    from rnnx.factory_export import FactoryOptions, export_factory
    from rnnx.model_options import ModelOptions

    names = options["output_names"]
    model = ModelOptions(
        stateful=options["stateful"],
        static=options["static"],
        output_names=tuple(name.strip() for name in names.split(",")) if names else None,
        opset=options["opset"],
    )
    chosen = FactoryOptions(checkpoint=options["checkpoint"], inputs=options["inputs"], model=model)
    with importable(Path.cwd()), redirect_stdout(sys.stderr):  # stdout is the report's, whatever the model prints
        return export_factory(source, output, chosen)


def _refuse(ctx: click.Context, names: tuple[str, ...], source: str, expected: str) -> None:
    """Refuse options that were given and do not fit the source."""
    for parameter in ctx.command.params:
        if parameter.name in names and ctx.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE:
            raise OptionError(
                parameter.opts[0],
                got=f"it for {source}",
                expected=f"it for {expected}",
                remedy=f"leave {parameter.opts[0]} out",
            )
