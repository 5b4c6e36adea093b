"""`rnnx verify`."""

from pathlib import Path

import click

from rnnx.candidates import ROW_NAMES

ROW = click.Choice(ROW_NAMES)


def _sizes(_ctx: click.Context, _param: click.Parameter, value: str | None) -> dict[str, int]:
    """`B=1,T=50` as `{"B": 1, "T": 50}`."""
    pairs = [part.partition("=") for part in value.split(",")] if value else []
    if not all(size.isdecimal() for _, _, size in pairs):
        raise click.BadParameter(f"got {value!r}, expected sizes such as B=1,T=50")
    return {dim.strip(): int(size) for dim, _, size in pairs}


@click.command("verify", short_help="Every backend against PyTorch.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--checkpoint", type=click.Path(path_type=Path), help="The weights MODEL was exported from.")
@click.option("--engine", type=click.Path(path_type=Path), help="A .plan built from MODEL, to verify too.")
@click.option("--backend", "backends", type=ROW, multiple=True, help="Run only this row; repeatable.")
@click.option("--require", type=ROW, multiple=True, help="Fail, not skip, where this row cannot run; repeatable.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="CPU threads.")
@click.option("--no-latency", is_flag=True, help="Parity alone.")
@click.option("--at", "sizes", callback=_sizes, metavar="B=N,T=N", help="Latency shape; default: B=1,T=50.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), metavar="FILE", help="Write the report as JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    model: Path,
    checkpoint: Path | None,
    engine: Path | None,
    backends: tuple[str, ...],
    require: tuple[str, ...],
    threads: int,
    no_latency: bool,
    sizes: dict[str, int],
    json_path: Path | None,
) -> None:
    """Prove that every backend computes MODEL's output, hn and cn as PyTorch does, and time the backends.

    The truth is PyTorch in float64 with the weights of --checkpoint; without it, the golden file beside MODEL, and
    PyTorch is not needed. A row that cannot run here is skipped with the reason, never run elsewhere.
    """
    from rnnx.cli.verification_tables import print_verification
    from rnnx.verification import VerifyOptions, verify
    from rnnx.verification_report import write_report

    options = VerifyOptions(
        checkpoint=checkpoint,
        engine=engine,
        backends=backends,
        require=require,
        threads=threads,
        latency=not no_latency,
        sizes=sizes,
    )
    report = verify(model, options)
    print_verification(report)
    if json_path:
        write_report(report, json_path)
    if not report:
        ctx.exit(1)
