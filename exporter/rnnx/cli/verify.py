"""`rnnx verify`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rnnx.cli.option_groups import GroupedCommand
from rnnx.cli.parameters import ReportFile, sizes_from_text, tensor_names_from_texts
from rnnx.cli.progress_bars import progress_bars
from rnnx.cli.standard_streams import binary_stdout, importing, tables_aside
from rnnx.runners.row_names import ROW_NAMES
from rnnx.truths.matrix_names import MATRIX_NAMES

if TYPE_CHECKING:
    from rnnx.reports.outputs import Target

ROW = click.Choice(ROW_NAMES)
FILE = click.Path(path_type=Path)

GROUPS = {
    "Truth": ("checkpoint", "like", "model", "matrix"),
    "Rows": ("engine", "backends", "require", "threads", "case_timeout_s"),
    "A MODEL of another exporter": ("module", "names", "batch_first", "nonlinearity"),
    "Latency": ("latency", "sizes"),
    "Reports": ("baseline", "json_path", "html_path", "junit_path", "tolerances"),
}


def _print_tolerances(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted:
        from rnnx.cli.tolerance_table import print_tolerances

        print_tolerances()
        ctx.exit()


@click.command("verify", cls=GroupedCommand, groups=GROUPS, short_help="Every backend against PyTorch.")
@click.argument("path", metavar="MODEL", type=FILE)
@click.option("--checkpoint", type=FILE, help="The weights MODEL was exported from.")
@click.option("--like", type=FILE, metavar="ORIGINAL", help="The model of rnnx that another tool made MODEL from.")
@click.option(
    "--model", metavar="PACKAGE.MODULE:FACTORY", help="What makes the module of a whole MODEL, as for rnnx export."
)
@click.option("--engine", type=FILE, help="A .plan built from MODEL, to verify too.")
@click.option("--module", metavar="PREFIX", help="Layer or cell in the checkpoint.")
@click.option(
    "--map",
    "names",
    multiple=True,
    callback=tensor_names_from_texts,
    metavar="NAME=TENSOR",
    help="MODEL's tensor for x, h0, c0, lengths, output, hn or cn; repeatable.",
)
@click.option("--batch-first", is_flag=True, help="x and output are (B, T, ...).")
@click.option(
    "--nonlinearity",
    type=click.Choice(["tanh", "relu"]),
    help="Of a plain RNN, what it applies; else MODEL's own is taken for right.",
)
@click.option("--backend", "backends", type=ROW, multiple=True, help="Run only this row; repeatable.")
@click.option("--require", type=ROW, multiple=True, help="Fail, not skip, where this row cannot run; repeatable.")
@click.option(
    "--matrix", type=click.Choice(MATRIX_NAMES), default="quick", show_default=True, help="How many cases and checks."
)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="CPU threads.")
@click.option(
    "--case-timeout-s", type=float, help="A case without an answer by then fails; default: 300, the first a few."
)
@click.option("--no-latency", "latency", flag_value=False, default=True, help="Parity alone.")
@click.option("--at", "sizes", callback=sizes_from_text, metavar="B=N,T=N", help="Latency shape; default: B=1,T=50.")
@click.option("--baseline", type=FILE, help="An earlier --json report; what became worse since fails.")
@click.option("--json", "json_path", type=ReportFile(), metavar="FILE", help="Write the report as JSON; - is stdout.")
@click.option(
    "--html", "html_path", type=ReportFile(), metavar="FILE", help="Write the report as one HTML page; - is stdout."
)
@click.option(
    "--junit", "junit_path", type=ReportFile(), metavar="FILE", help="Write the report as JUnit XML; - is stdout."
)
@click.option(
    "--tolerances",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_tolerances,
    help="Print the limit of each precision with its reason, and exit.",
)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    path: Path,
    json_path: "Target | None",
    html_path: "Target | None",
    junit_path: "Target | None",
    **others: Any,
) -> None:
    """Prove that every backend computes MODEL's output, hn and cn as PyTorch does, and time the backends.

    The truth is PyTorch in float64 with the weights of --checkpoint; without it, the golden file beside MODEL, and
    PyTorch is not needed. A whole model has its truth from PyTorch in its golden file, at sizes other than it was
    exported with, or from its module on fresh inputs with --model. A row that cannot run here is skipped with the
    reason, never run elsewhere. A MODEL that another exporter made is held to --checkpoint, with --map where its
    tensors have other names, or to --model; without either, to ONNX Runtime on the CPU. What another tool made of a
    model of rnnx, such as a quantizer or a simplifier, needs that one as --like: its contract and its golden file are
    MODEL's, to the tolerance of what MODEL computes in.
    """
    from rnnx.cli.verification_tables import print_verification
    from rnnx.reports.outputs import opened_outputs
    from rnnx.reports.writing import require_packages, write_outputs
    from rnnx.runners.verify_options import VerifyOptions
    from rnnx.verifying.verification import verify

    targets = {"json": json_path, "html": html_path, "junit": junit_path}
    require_packages(kind for kind, target in targets.items() if target)
    with opened_outputs(targets, _read(path, others), stdout=binary_stdout()) as outputs:
        with progress_bars() as bars, importing(others["model"]):
            # The other options have the names and types of VerifyOptions' fields.
            report = verify(path, VerifyOptions(**others), listener=bars)
        write_outputs(report, outputs)  # first: whoever reads the tables may close the pipe after the verdict
        with tables_aside(outputs):
            print_verification(report)
    if not report:
        ctx.exit(1)


def _read(path: Path, options: dict[str, Any]) -> tuple[Path | None, ...]:
    """Files that a verification reads."""
    engine = options["engine"]
    models = [own for own in (path, options["like"]) if own is not None]
    beside = [Path(f"{own}.data") for own in models]
    beside += [own.with_suffix(".golden.npz") for own in models if own.name]
    return (*models, *beside, options["checkpoint"], engine, Path(f"{engine}.json") if engine else None)
