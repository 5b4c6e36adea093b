"""How the tolerance table looks."""

import click

from rnnx.cli.render import print_paragraph
from rnnx.parity.tolerances import TOLERANCES


def print_tolerances() -> None:
    """Print the limit of each precision and its reason on stdout."""
    print_paragraph(
        "An error passes up to the larger of two bounds: a multiple of the error that PyTorch's own float32 makes on"
        " the same inputs, and a floor, the rounding of T steps and L layers. K is the number of products in a gate's"
        " sum; the largest value is that of the output's truth, or the root mean square of x where that is larger."
    )
    for precision, tolerance in TOLERANCES.items():
        click.echo()
        print_paragraph(tolerance.rule, label=f"{precision}:", color="cyan")
        print_paragraph(tolerance.reason, indent="  ")
