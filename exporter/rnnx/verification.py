"""Proof that every backend computes the same: one model, the same inputs, each row against the float64 truth."""

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import numpy as np

from rnnx.candidates import ROW_NAMES
from rnnx.cases import Case, case_at, cases, random_feeds, sizes_of
from rnnx.errors import OptionError
from rnnx.golden import GoldenCase, golden_path, read_golden
from rnnx.latency import LatencyReport, LatencyRow, measure_latency
from rnnx.parity import ParityReport, ParityRow, compare
from rnnx.profiles import text_from_profile
from rnnx.subject import Subject, read_subject
from rnnx.tolerances import tolerance_for
from rnnx.verification_report import VerificationReport
from rnnx_runtime.contract import Contract
from rnnx_runtime.errors import BackendError, BackendUnavailable

LATENCY_SIZES = {"T": 50, "B": 1}
"""Where latency is measured unless said otherwise: one stream, half a second of 10 ms frames."""


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """What to verify and how.

    `checkpoint` gives the truth by PyTorch; without it the golden file beside the model does. `backends` are the rows
    to run, all that apply when empty; a row named in `require` fails where it would be skipped. `threads` is for the
    sessions and for PyTorch. `sizes` is the shape of the latency figures, of T and B what the model leaves
    free, and `latency_seconds` about how long to time each backend.
    """

    checkpoint: str | os.PathLike[str] | None = None
    engine: str | os.PathLike[str] | None = None
    backends: tuple[str, ...] = ()
    require: tuple[str, ...] = ()
    threads: int = 1
    latency: bool = True
    latency_seconds: float = 1.0
    sizes: Mapping[str, int] = field(default_factory=dict)


def verify(model: str | os.PathLike[str], options: VerifyOptions | None = None) -> VerificationReport:
    """Compare every backend's `output`, `hn` and `cn` with the float64 truth, and time the backends side by side.

    Args:
        model: an .onnx that rnnx exported.
        options: see `VerifyOptions`.

    Raises:
        CheckpointError: the checkpoint cannot be read, or is not the one this model was exported from.
        EngineError: the engine was built from another model.
        GoldenError: no checkpoint was given and the golden file is missing, damaged or another model's.
        OptionError: an option does not fit the model.
        FileDamagedError, ContractError: the model or the engine is damaged or was not written by rnnx.
        MissingExtraError: a checkpoint was given and PyTorch is not installed.
    """
    options = options or VerifyOptions()
    subject = read_subject(Path(model), checkpoint=_path(options.checkpoint), engine=_path(options.engine))
    names, sizes = _row_names(subject, options), _latency_sizes(subject.contract, options)
    with _pytorch_threads(subject, options.threads):
        truth = _truth(subject)
        parity = ParityReport(rows=tuple(_parity_row(subject, name, truth, options) for name in names))
        ran = [row.backend for row in parity.rows if row.outputs]
        latency = _latency(subject, ran, sizes, options) if options.latency else None
    return VerificationReport(
        model=str(subject.model.path),
        parity=parity,
        latency=latency,
        truth=_truth_name(subject, options),
        yardstick="PyTorch" if subject.weights else "NumPy",
        cases=tuple(golden.case.name for golden in truth),
        tolerances={row.precision: tolerance_for(row.precision) for row in parity.rows if row.outputs},
        versions=_versions(subject, ran),
    )


def _path(given: str | os.PathLike[str] | None) -> Path | None:
    return None if given is None else Path(given)


def _row_names(subject: Subject, options: VerifyOptions) -> tuple[str, ...]:
    for name in (*options.backends, *options.require):
        if name not in ROW_NAMES:
            raise OptionError("backend", got=repr(name), expected=" | ".join(ROW_NAMES), remedy="choose one of these")
    if options.threads < 1:
        raise OptionError("threads", got=str(options.threads), expected="≥ 1", remedy="leave it out for 1")
    wanted = {*(options.backends or subject.rows()), *options.require}
    return tuple(name for name in ROW_NAMES if name in wanted)


def _pytorch_threads(subject: Subject, threads: int) -> contextlib.AbstractContextManager[None]:
    if subject.weights is None:
        return contextlib.nullcontext()
    from rnnx.torch_reference import torch_threads

    return torch_threads(threads)


def _latency_sizes(contract: Contract, options: VerifyOptions) -> dict[str, int]:
    free = [dim for dim in ("T", "B") if dim in contract.inputs[0].dims]
    for dim, size in options.sizes.items():
        if dim not in free or size < 1:
            raise OptionError(
                "latency shape",
                got=f"{dim}={size} for form {contract.form}",
                expected=" and ".join(f"{name} ≥ 1" for name in free),
                remedy="other sizes are fixed by the model",
            )
    return {dim: options.sizes.get(dim, LATENCY_SIZES[dim]) for dim in free}


def _truth(subject: Subject) -> list[GoldenCase]:
    if subject.weights is None:
        return read_golden(golden_path(subject.model.path), subject.contract)
    from rnnx.torch_reference import torch_truth

    return torch_truth(subject.weights, subject.contract, [*cases(subject.contract), *_profile_cases(subject)])


def _truth_name(subject: Subject, options: VerifyOptions) -> str:
    if options.checkpoint is None:
        return f"golden file {golden_path(subject.model.path).name}, NumPy in float64"
    return f"PyTorch in float64, weights of {Path(options.checkpoint).name}"


def _profile_cases(subject: Subject) -> list[Case]:
    """Each profile's smallest and best shape, which the matrix may miss; its largest may take float64 minutes."""
    profiles = subject.engine.sidecar.profiles if subject.engine else ()
    steps = subject.contract.steps or 1
    known = {case.name for case in cases(subject.contract)}
    found: dict[str, Case] = {}
    for profile in profiles:
        for corner in ("min", "opt"):
            sizes = {dim: getattr(sizes, corner) for dim, sizes in profile.items()}
            case = case_at(subject.contract, sizes.get("T", steps), sizes.get("B", 1))
            found[case.name] = case
    return [case for name, case in found.items() if name not in known]


def _parity_row(subject: Subject, name: str, truth: Sequence[GoldenCase], options: VerifyOptions) -> ParityRow:
    fits = [subject.covers(name, sizes_of(subject.contract, golden.case.feeds)) for golden in truth]
    covered = [golden for golden, fit in zip(truth, fits, strict=True) if fit]
    uncovered = tuple(golden.case.name for golden, fit in zip(truth, fits, strict=True) if not fit)
    try:
        with contextlib.closing(subject.open(name, options.threads)) as candidate:
            if not covered:
                raise _nothing_covered(subject, name, len(truth))
            return compare(candidate, covered, subject.contract, subject.precision(name), uncovered)
    except BackendUnavailable as error:
        required = name in options.require
        return ParityRow(backend=name, status="fail" if required else "skip", uncovered=uncovered, reason=str(error))
    except BackendError as error:
        return ParityRow(backend=name, status="fail", uncovered=uncovered, reason=str(error))


def _nothing_covered(subject: Subject, name: str, count: int) -> BackendUnavailable:
    profiles = subject.engine.sidecar.profiles if subject.engine else ()
    ranges = " and ".join(text_from_profile(profile) for profile in profiles)
    return BackendUnavailable(
        f"backend {name}",
        got=f"{count} cases, none within the engine's profile {ranges}",
        expected="at least one",
        remedy="with --checkpoint each profile's own shapes are cases too",
    )


def _latency(subject: Subject, names: Sequence[str], sizes: Mapping[str, int], options: VerifyOptions) -> LatencyReport:
    contract = subject.contract
    time, batch = sizes.get("T", contract.steps or 1), sizes["B"]
    try:
        feeds = random_feeds(contract, time, batch, seed=0)
    except (MemoryError, ValueError) as error:  # NumPy has its own limits besides the host's
        return LatencyReport(sizes=sizes, threads=options.threads, rows=(), notes=(f"not measured: {error}",))
    if "lengths" in feeds:
        feeds["lengths"] = np.full(batch, time, np.int32)  # or throughput would count steps that nobody computes
    covered = [name for name in names if subject.covers(name, sizes)]
    notes = [f"{name}: no profile covers this shape" for name in names if name not in covered]
    rows: list[LatencyRow] = []
    try:
        with contextlib.ExitStack() as stack:
            opened = [stack.enter_context(contextlib.closing(subject.open(name, options.threads))) for name in covered]
            rows = measure_latency(opened, feeds, steps=time * batch, seconds=options.latency_seconds)
    except (BackendError, BackendUnavailable) as error:
        notes.append(f"not measured: {error}")  # parity has passed its verdict; a larger shape may not fit a device
    return LatencyReport(sizes=sizes, threads=options.threads, rows=tuple(rows), notes=tuple(notes))


def _versions(subject: Subject, names: Sequence[str]) -> dict[str, str]:
    found = {"rnnx": version("rnnx"), "numpy": np.__version__}
    packages = [package for package, start in (("torch", "pytorch"), ("onnxruntime", "ort")) if _any(names, start)]
    if subject.weights and "torch" not in packages:
        packages.insert(0, "torch")
    found |= {package: import_module(package).__version__ for package in packages}
    if subject.engine and _any(names, "tensorrt"):
        found[subject.engine.sidecar.flavor] = subject.engine.sidecar.version
    return found


def _any(names: Sequence[str], start: str) -> bool:
    return any(name.startswith(start) for name in names)
