"""`rnnx bench`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rnnx.cli.option_groups import GroupedCommand
from rnnx.cli.parameters import ReportFile, sizes_from_text
from rnnx.cli.progress_bars import progress_bars
from rnnx.cli.standard_streams import binary_stdout, importing, tables_aside
from rnnx.runners.row_names import ROW_NAMES
from rnnx.tensorrt_network.network_row import NETWORK_ROW

if TYPE_CHECKING:
    from rnnx.reports.outputs import Target

ROW = click.Choice([name for name in ROW_NAMES if name != NETWORK_ROW])
FILE = click.Path(path_type=Path)
ABOVE_0 = click.FloatRange(min=0, min_open=True)

GROUPS = {
    "Rows": ("checkpoint", "model", "engine", "backends", "threads"),
    "Measurements": ("sizes", "seconds", "frame_ms"),
    "Reports": ("json_path", "before_path"),
}


@click.command(
    "bench", cls=GroupedCommand, groups=GROUPS, short_help="Latency, streaming, throughput and start-up in depth."
)
@click.argument("path", metavar="MODEL", type=FILE)
@click.option("--checkpoint", type=FILE, help="The weights MODEL was exported from: adds PyTorch and ratios to it.")
@click.option(
    "--model",
    metavar="PACKAGE.MODULE:FACTORY",
    help="What makes the module of a whole MODEL, as for rnnx export: adds PyTorch and ratios to it.",
)
@click.option("--engine", type=FILE, help="A .plan built from MODEL, to time too.")
@click.option("--backend", "backends", type=ROW, multiple=True, help="Run only this row; repeatable.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="CPU threads.")
@click.option("--at", "sizes", callback=sizes_from_text, metavar="B=N,T=N", help="Latency shape; default: B=1,T=50.")
@click.option("--seconds", type=ABOVE_0, default=2.0, show_default=True, help="Time for each backend's latency.")
@click.option("--frame-ms", type=ABOVE_0, default=10.0, show_default=True, help="A streaming step's deadline.")
@click.option("--json", "json_path", type=ReportFile(), metavar="FILE", help="Write the report as JSON; - is stdout.")
@click.option("--compare", "before_path", type=FILE, metavar="FILE", help="Say what moved since an earlier --json.")
def command(
    path: Path,
    checkpoint: Path | None,
    model: str | None,
    engine: Path | None,
    backends: tuple[str, ...],
    threads: int,
    sizes: dict[str, int],
    seconds: float,
    frame_ms: float,
    json_path: "Target | None",
    before_path: Path | None,
) -> None:
    """Time every backend of MODEL, rnnx's or another exporter's, in alternating rounds, warmed up until stable.

    Figures carry 95 % intervals. With --compare, what moved since an earlier report beyond the noise is said, and "no
    change" where nothing did; the exit code is 0 either way.
    """
    from rnnx.cli.bench_tables import print_bench, print_comparison
    from rnnx.reports.bench_json import read_bench, text_from_bench
    from rnnx.reports.outputs import opened_outputs
    from rnnx.timing.benchmarking import BenchOptions, bench
    from rnnx.timing.comparison import compare_benches

    options = BenchOptions(
        checkpoint=checkpoint,
        model=model,
        engine=engine,
        backends=backends,
        threads=threads,
        sizes=sizes,
        seconds=seconds,
        frame_ms=frame_ms,
    )
    read = (path, Path(f"{path}.data"), checkpoint, engine, Path(f"{engine}.json") if engine else None)
    with opened_outputs({"json": json_path}, read, stdout=binary_stdout()) as outputs:
        before = read_bench(before_path) if before_path else None
        with progress_bars() as listener, importing(model):
            report = bench(path, options, before=before, listener=listener)
        for output in outputs.values():
            output.write(text_from_bench(report))
        with tables_aside(outputs):
            print_bench(report)
            if before:
                print_comparison(compare_benches(before, report), str(before_path))
