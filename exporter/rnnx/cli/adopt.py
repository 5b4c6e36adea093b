"""`rnnx adopt`."""

import dataclasses
from pathlib import Path

import click

from rnnx.cli.parameters import ArtifactFile
from rnnx.cli.render import print_json


@click.command("adopt", short_help="Another exporter's .onnx to a model of rnnx.")
@click.argument("path", type=click.Path(path_type=Path))
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
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(
    path: Path,
    output: Path,
    states: tuple[str, ...],
    lengths: tuple[str, ...],
    sizes: tuple[str, ...],
    values: tuple[str, ...],
    constants: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make a model of rnnx of PATH, a recurrent .onnx of any exporter.

    Reads the graph, tries in ONNX Runtime what it suggests (states, lengths, free dims), and writes OUTPUT: the same
    weights with a contract, sealed. Its golden values are ONNX Runtime's in float32.
    """
    from rnnx.adopting.adopt_options import AdoptOptions
    from rnnx.adopting.adoption import adopt
    from rnnx.cli.adopt_tables import print_adoption
    from rnnx.cli.adopt_values import (
        constants_from_texts,
        integers_from_texts,
        names_from_texts,
        ranges_from_texts,
    )

    options = AdoptOptions(
        states=names_from_texts(states),
        lengths=lengths,
        sizes=integers_from_texts(sizes),
        values=ranges_from_texts(values),
        constants=constants_from_texts(constants),
    )
    report = adopt(path, output, options)
    print_json(dataclasses.asdict(report)) if as_json else print_adoption(report)
