"""From an exported .onnx to a TensorRT engine: a .plan and the sidecar that says what it holds."""

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from rnnx.adopting.adopted_copy import own_model
from rnnx.artifacts import check_targets, staged
from rnnx.decoders.forecast import LONGEST_BUILD_S, build_seconds
from rnnx.engines.engine_options import EngineOptions, completed
from rnnx.engines.interruption import run_interruptibly
from rnnx.engines.model_profiles import profile_of
from rnnx.engines.plan_compiler import CompiledPlan, compile_plan
from rnnx.engines.tensorrt_library import TensorRTLibrary, open_library
from rnnx.errors import EngineError, OptionError
from rnnx.linting.examination import concerning, examine
from rnnx.linting.onnx_parsing import count_of_nodes, parse_onnx
from rnnx.progress import ProgressListener
from rnnx_runtime.files.model_file import OnnxFile, checked_onnx
from rnnx_runtime.files.sidecar import Sidecar, sidecar_path, text_from_sidecar

PORTABLE = "portable"
"""The target of a plan that runs on every GPU its library knows."""


@dataclass(frozen=True, kw_only=True)
class EngineReport:
    """What was built: both files, the sidecar's content, why this library, the network's size, the build's time.

    `default_profiles` says that no profile was given; `warnings` are what was found out about another exporter's file,
    those of `rnnx doctor` that concern TensorRT, then TensorRT's own.
    """

    path: Path
    sidecar_path: Path
    sidecar: Sidecar
    chosen: str
    default_profiles: bool
    layers: int
    loops: int
    bytes: int
    build_s: float
    warnings: tuple[str, ...]


def build_engine(
    source: str | os.PathLike[str],
    path: str | os.PathLike[str],
    options: EngineOptions | None = None,
    *,
    listener: ProgressListener | None = None,
) -> EngineReport:
    """Build a TensorRT engine of a model that `rnnx.export` wrote, or of another exporter's as `rnnx.adopt` reads it.

    KeyboardInterrupt ends the call at once and leaves no file; TensorRT itself stops at its next step.

    Args:
        source: the .onnx.
        path: the .plan to write; its sidecar `<path>.json` is written beside it. Both appear whole or not at all.
        options: see `EngineOptions`.
        listener: is told about TensorRT's phases while they last.

    Raises:
        FileDamagedError: the source is missing, truncated or changed.
        ContractError: the source's contract is of another version.
        AdoptionError, BackendError: another exporter's file has nothing recurrent in it, or does not run.
        OptionError: an option does not fit the model or the library.
        EngineError: TensorRT computes this graph wrongly, refuses it, would take long, or failed to build it.
        OutputError: the files could not be written.
        MissingExtraError: the library, or the package onnx, is not installed.
    """
    options, target = options or EngineOptions(), Path(path)
    _check_names(Path(source), target)
    caches = () if options.timing_cache is None else (Path(options.timing_cache),)
    check_targets(target, sidecar_path(target), *caches, inputs=(Path(source), Path(f"{source}.data")))
    library = open_library(options.flavor)
    with own_model(Path(source)) as own, staged(target) as stage:
        model = checked_onnx(own.path, own.data)
        chosen = completed(options, library, model.contract, profile_of(model))
        targets = (library.own_gpu(),) if library.builds_for_its_own_gpu else chosen.targets or (PORTABLE,)
        doubts = _examined(model, library.flavor, allow_large=chosen.allow_large)
        plan, build_s = _timed_build(library, model, chosen, listener)
        sidecar = _sidecar(library, model, plan, chosen, targets)
        (stage / target.name).write_bytes(plan.data)
        (stage / sidecar_path(target).name).write_bytes(text_from_sidecar(sidecar).encode())
        _keep_timing_cache(chosen.timing_cache, plan)
    return EngineReport(
        path=target,
        sidecar_path=sidecar_path(target),
        sidecar=sidecar,
        chosen=library.chosen,
        default_profiles=not options.profiles,
        layers=plan.layers,
        loops=plan.loops,
        bytes=plan.data.nbytes,
        build_s=build_s,
        warnings=(*own.notes, *doubts, *plan.warnings),
    )


def _check_names(source: Path, target: Path) -> None:
    if target.suffix != ".plan":
        remedy = f"use {target.stem}.plan"
        raise OptionError("output", got=target.name, expected="a name ending in .plan", remedy=remedy)
    if source.suffix != ".onnx":
        remedy = "export the checkpoint first with rnnx export"
        raise OptionError("source", got=source.name, expected="an .onnx", remedy=remedy)


def _examined(model: OnnxFile, flavor: str, *, allow_large: bool) -> tuple[str, ...]:
    """What may go wrong with a graph in TensorRT, told before it reads it.

    Raises:
        EngineError: TensorRT is known to refuse the graph, to compute it wrongly without a word, or to take minutes.
    """
    proto = parse_onnx(model.path, model.data)
    if not allow_large:
        _refuse_large(model.path, count_of_nodes(proto))
    findings = concerning(examine(proto, model.path.parent), flavor)
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        first, others = errors[0], len(errors) - 1
        raise EngineError(
            f"{model.path}, {first.node}",
            got=first.message + (f" (and {others} more)" if others else ""),
            expected="a graph that TensorRT computes as ONNX defines it",
            remedy=first.fix,
        )
    return tuple(f"{own.node}: {own.message}; {own.fix}" for own in findings if own.severity == "warning")


def _refuse_large(path: Path, nodes: int) -> None:
    expected_s = build_seconds(nodes)
    if expected_s > LONGEST_BUILD_S:
        raise EngineError(
            str(path),
            got=f"{nodes:,} nodes, {expected_s:.0f} s or more to build an engine of: TensorRT takes four times as long "
            "for twice as many",
            expected=f"at most {LONGEST_BUILD_S:.0f} s",
            remedy="export the recurrence as a layer, a Scan or a Loop, not step by step; to build it anyway give "
            "allow_large=True (--allow-large)",
        )


def _timed_build(
    library: TensorRTLibrary, model: OnnxFile, options: EngineOptions, listener: ProgressListener | None
) -> tuple[CompiledPlan, float]:
    cancelled, start = Event(), time.perf_counter()
    plan = run_interruptibly(lambda: compile_plan(library, model, options, listener, cancelled), cancelled)
    return plan, time.perf_counter() - start


def _sidecar(
    library: TensorRTLibrary, model: OnnxFile, plan: CompiledPlan, options: EngineOptions, targets: tuple[str, ...]
) -> Sidecar:
    return Sidecar(
        flavor=library.flavor,
        version=library.version,
        targets=targets,
        tf32=options.tf32,
        profiles=options.profiles,
        plan_sha256=hashlib.sha256(plan.data).hexdigest(),
        onnx_sha256=hashlib.sha256(model.data).hexdigest(),
        contract=model.contract,
    )


def _keep_timing_cache(path: Path | None, plan: CompiledPlan) -> None:
    if path is not None and plan.timing_cache is not None:
        with staged(path) as stage:
            (stage / path.name).write_bytes(plan.timing_cache)
