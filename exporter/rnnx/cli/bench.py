"""`rnnx bench`."""

from pathlib import Path

import click

from rnnx.candidates import NETWORK_ROW, ROW_NAMES
from rnnx.cli.parameters import sizes_from_text
from rnnx.cli.progress_bars import progress_bars

ROW = click.Choice([name for name in ROW_NAMES if name != NETWORK_ROW])
FILE = click.Path(path_type=Path)
ABOVE_0 = click.FloatRange(min=0, min_open=True)


@click.command("bench", short_help="Latency, streaming, throughput and start-up in depth.")
@click.argument("model", type=FILE)
@click.option("--checkpoint", type=FILE, help="The weights MODEL was exported from: adds PyTorch and ratios to it.")
@click.option("--engine", type=FILE, help="A .plan built from MODEL, to time too.")
@click.option("--backend", "backends", type=ROW, multiple=True, help="Run only this row; repeatable.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="CPU threads.")
@click.option("--at", "sizes", callback=sizes_from_text, metavar="B=N,T=N", help="Latency shape; default: B=1,T=50.")
@click.option("--seconds", type=ABOVE_0, default=2.0, show_default=True, help="Time for each backend's latency.")
@click.option("--frame-ms", type=ABOVE_0, default=10.0, show_default=True, help="A streaming step's deadline.")
@click.option("--json", "json_path", type=FILE, metavar="FILE", help="Write the report as JSON.")
@click.option("--compare", "before_path", type=FILE, metavar="FILE", help="Say what moved since an earlier --json.")
def command(
    model: Path,
    checkpoint: Path | None,
    engine: Path | None,
    backends: tuple[str, ...],
    threads: int,
    sizes: dict[str, int],
    seconds: float,
    frame_ms: float,
    json_path: Path | None,
    before_path: Path | None,
) -> None:
    """Time every backend of MODEL that this host can run: in alternating rounds, warmed up until stable.

    Figures carry 95 % intervals. With --compare, what moved since an earlier report beyond the noise is said, and "no
    change" where nothing did; the exit code is 0 either way.
    """
    from rnnx.benchmarking import BenchOptions, bench
    from rnnx.cli.bench_tables import print_bench, print_comparison
    from rnnx.reports.writing import check_writable
    from rnnx.timing.bench_json import read_bench, write_bench
    from rnnx.timing.comparison import compare_benches

    options = BenchOptions(
        checkpoint=checkpoint,
        engine=engine,
        backends=backends,
        threads=threads,
        sizes=sizes,
        seconds=seconds,
        frame_ms=frame_ms,
    )
    check_writable({"json": json_path}, (model, checkpoint, engine))
    before = read_bench(before_path) if before_path else None
    with progress_bars() as listener:
        report = bench(model, options, before=before, listener=listener)
    if json_path:
        write_bench(report, json_path)
    print_bench(report)
    if before:
        print_comparison(compare_benches(before, report), str(before_path))
