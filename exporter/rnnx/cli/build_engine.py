"""`rnnx build-engine`."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rnnx.cli.interrupt import die_of_interrupt
from rnnx.cli.option_groups import GroupedCommand
from rnnx.cli.parameters import ArtifactFile
from rnnx.cli.progress_bars import progress_bars
from rnnx.cli.render import byte_size, print_json, print_table

if TYPE_CHECKING:
    from rnnx.building.engine import EngineReport
    from rnnx_runtime.contract import Contract

GROUPS = {
    "Sizes and hardware": ("profiles", "flavor", "targets"),
    "Speed and precision": ("tf32", "optimization_level"),
    "What the build may use": ("workspace_mib", "timing_cache", "allow_large"),
}


@click.command("build-engine", cls=GroupedCommand, groups=GROUPS, short_help="ONNX to a TensorRT engine.")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=ArtifactFile(), required=True, help="The .plan to write.")
@click.option(
    "--profile",
    "profiles",
    multiple=True,
    metavar="B=MIN:OPT:MAX[,T=...]",
    help="Sizes a free dim may take; repeat it for other dims. Naming a dim again starts a second profile.",
)
@click.option(
    "--flavor",
    type=click.Choice(["tensorrt", "tensorrt-rtx"]),
    help="Library to build with; default: the one installed, and of both tensorrt on a host with a GPU.",
)
@click.option(
    "--target-sm",
    "targets",
    multiple=True,
    metavar="X.Y",
    help="Compute capability to build for, such as 8.9; repeatable. tensorrt-rtx only; default: a portable plan.",
)
@click.option("--workspace-mib", type=int, metavar="N", help="Most GPU memory for scratch; default: all of it.")
@click.option(
    "--no-tf32",
    "tf32",
    flag_value=False,
    default=True,
    help="Full float32 in matrix products; TensorRT's default is TF32.",
)
@click.option("--optimization-level", type=int, metavar="0-5", help="How long to search for a faster plan; default 3.")
@click.option("--timing-cache", type=ArtifactFile(), help="File to reuse and update; tensorrt only.")
@click.option("--allow-large", is_flag=True, help="Build a graph of so many nodes that it takes more than a minute.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(source: Path, output: Path, profiles: tuple[str, ...], as_json: bool, **others: Any) -> None:
    """Build a TensorRT engine from SOURCE, an .onnx that `rnnx export` wrote, or another exporter's.

    Beside OUTPUT lies its sidecar OUTPUT.json, which the runtime checks. Ctrl-C stops and leaves nothing.
    """
    from rnnx.building.engine import build_engine
    from rnnx.engines.engine_options import EngineOptions
    from rnnx.engines.profiles import profiles_from_texts

    # The other options have the names and types of EngineOptions' fields.
    options = EngineOptions(profiles=profiles_from_texts(profiles), **others)
    try:
        with progress_bars() as bars:
            report = build_engine(source, output, options, listener=bars)
    except KeyboardInterrupt:
        die_of_interrupt("cancelled, nothing was written")
        raise
    if as_json:
        print_json(dataclasses.asdict(report))
    else:
        print_table(str(report.path), ("", ""), _rows(report))


def _form(contract: "Contract") -> str:
    if contract.bare:
        return f"{contract.bare.form}, {contract.bare.formulation}"
    return ", ".join(["whole model", *(f"{part.name} {part.formulation}" for part in contract.recurrent)])


def _rows(report: "EngineReport") -> list[tuple[str, object]]:
    from rnnx.engines.profiles import text_from_profile

    sidecar = report.sidecar
    origin = " (default; choose with --profile)" if report.default_profiles else ""
    return [
        ("library", f"{sidecar.flavor} {sidecar.version}, {report.chosen}"),
        ("form", _form(sidecar.contract)),
        ("network", f"layers: {report.layers}, loops: {report.loops}"),
        *(("profile", text_from_profile(profile) + origin) for profile in sidecar.profiles),
        ("target", ", ".join(sidecar.targets)),
        ("precision", f"{sidecar.contract.precision}, TF32 {'on' if sidecar.tf32 else 'off'}"),
        ("built", f"{byte_size(report.bytes)} in {report.build_s:.1f} s"),
        *(("warning", warning) for warning in report.warnings),
        ("sidecar", report.sidecar_path),
    ]
