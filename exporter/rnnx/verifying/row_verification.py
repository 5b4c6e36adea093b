"""One row of a verification: a backend opened, compared case by case, checked, and diagnosed where it failed."""

import contextlib
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from rnnx.checks.drift import WINDOWS, measure_drift
from rnnx.checks.plan import CheckPlan, run_checks
from rnnx.checks.probe import Probe
from rnnx.diagnosis.diagnosis import Diagnosis
from rnnx.engines.profiles import text_from_profile
from rnnx.errors import RowDiedError
from rnnx.parity.parity import ParityRow, compare
from rnnx.parity.results import CHECK_NAMES, CheckResult, DriftCurve, Status
from rnnx.progress import ProgressListener, stage
from rnnx.runners.candidates import Candidate
from rnnx.runners.isolated_candidate import IsolatedCandidate
from rnnx.runners.metered_candidate import MeteredCandidate
from rnnx.runners.row_channel import RowChannel
from rnnx.runners.row_names import PYTORCH_ROWS
from rnnx.runners.subject import Subject
from rnnx.runners.verify_options import CASE_TIMEOUT_S, VerifyOptions
from rnnx.tensorrt_network.network_row import NETWORK_ROW
from rnnx.truths.model_cases import CaseSource
from rnnx.truths.truth import CaseTruth
from rnnx.verifying.first_answer import refuse_endless
from rnnx.verifying.layer_localisation import located_in_layers
from rnnx.verifying.model_reference import ModelReference
from rnnx_runtime.arrays.dim_sizes import sizes_from_feeds
from rnnx_runtime.errors import BackendError, BackendUnavailable

if TYPE_CHECKING:
    from onnx import ModelProto


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What every row is held to: the cases with their truth, and the plan of the checks, with inputs drawn alike.

    `left_out` says at which sizes PyTorch itself has no answer.
    """

    truth: Sequence[CaseTruth]
    plan: CheckPlan
    inputs: CaseSource
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class VerifiedRow:
    """What was found of one row, and how long its backend was at work on it.

    A row that is not at parity is diagnosed instead of being checked further.
    """

    parity: ParityRow
    checks: tuple[CheckResult, ...] = ()
    drift: tuple[DriftCurve, ...] = ()
    diagnosis: Diagnosis | None = None
    busy_s: float = 0.0


def runs_apart(row: str) -> bool:
    """Whether a row runs in a process of its own: all do but PyTorch on CPU, which is the truth's own library."""
    return row != "pytorch-cpu"


def verify_row(
    subject: Subject,
    name: str,
    expected: Expectation,
    options: VerifyOptions,
    listener: ProgressListener,
    channel: RowChannel | None = None,
    reference: ModelReference | None = None,
) -> VerifiedRow:
    """Verify one row; a backend that is not here is a skipped row, or a failed one where it is required.

    `reference` is a whole model's module, which is what PyTorch's rows run.
    """
    covered, uncovered = _covered(subject, name, expected.truth)
    status: Status
    try:
        with contextlib.closing(open_row(subject, name, options, channel, reference)) as candidate:
            if not covered:
                raise _nothing_covered(subject, name, len(expected.truth))
            if options.case_timeout_s is None:
                refuse_endless(subject, name, candidate, covered)
            row = _compared(subject, candidate, covered, uncovered, listener)
            if row.status == "pass":
                checks, drift = _checked(subject, candidate, expected.plan, listener)
                return VerifiedRow(parity=row, checks=checks, drift=(drift,), busy_s=candidate.busy_s)
            if candidate.deaths:  # which say themselves what is wrong
                return VerifiedRow(parity=row, busy_s=candidate.busy_s)
            diagnosis = _diagnosed(subject, candidate, row, covered, listener, reference)
            return VerifiedRow(parity=row, diagnosis=diagnosis, busy_s=candidate.busy_s)
    except BackendUnavailable as error:
        status = "fail" if name in options.require else "skip"
        return VerifiedRow(parity=ParityRow(backend=name, status=status, uncovered=uncovered, reason=str(error)))
    except BackendError as error:
        # What TensorRT cannot read only matters to who means to use it; values that differ, or a crash, matter to all.
        asked = name != NETWORK_ROW or subject.engine or name in (*options.backends, *options.require)
        status = "fail" if asked or isinstance(error, RowDiedError) else "skip"
        return VerifiedRow(parity=ParityRow(backend=name, status=status, uncovered=uncovered, reason=str(error)))


def open_row(
    subject: Subject,
    name: str,
    options: VerifyOptions,
    channel: RowChannel | None = None,
    reference: ModelReference | None = None,
) -> MeteredCandidate | IsolatedCandidate:
    """A row's candidate, in the process behind `channel`, or in a new one, where the row runs apart.

    PyTorch on CUDA is tried in this process first: the other would import torch only to say that there is none. A live
    module cannot leave this process.

    Raises:
        BackendUnavailable: this host cannot run it; says exactly why.
        BackendError: the backend was there and refused the model.
    """
    if reference is not None and name in PYTORCH_ROWS:
        return MeteredCandidate(functools.partial(reference.live.candidate, name))
    opener = functools.partial(subject.open, name, options.threads)
    if name in PYTORCH_ROWS:
        candidate = MeteredCandidate(opener)
        if not runs_apart(name):
            return candidate
        candidate.close()
    return IsolatedCandidate(opener, options.case_timeout_s or CASE_TIMEOUT_S, channel)


def _compared(
    subject: Subject,
    candidate: Candidate,
    truth: Sequence[CaseTruth],
    uncovered: tuple[str, ...],
    listener: ProgressListener,
) -> ParityRow:
    with stage(listener, f"{candidate.name}: cases", len(truth)) as part_done:
        return compare(
            candidate,
            truth,
            subject.contract,
            subject.precision(candidate.name),
            outputs=subject.outputs,
            uncovered=uncovered,
            on_case=part_done,
        )


def _checked(
    subject: Subject, candidate: Candidate, plan: CheckPlan, listener: ProgressListener
) -> tuple[tuple[CheckResult, ...], DriftCurve]:
    probe = Probe(
        candidate=candidate,
        contract=subject.contract,
        precision=subject.precision(candidate.name),
        outputs=subject.outputs,
        covers=functools.partial(subject.covers, candidate.name),
    )
    with stage(listener, f"{candidate.name}: checks", len(CHECK_NAMES)) as part_done:
        checks = run_checks(probe, plan, on_check=part_done)
    with stage(listener, f"{candidate.name}: drift", WINDOWS) as part_done:
        return checks, measure_drift(probe, plan.drift, on_window=part_done)


def _diagnosed(
    subject: Subject,
    candidate: Candidate,
    row: ParityRow,
    truth: Sequence[CaseTruth],
    listener: ProgressListener,
    reference: ModelReference | None,
) -> Diagnosis | None:
    """Why a row failed; of a whole model, with its module, the layer in which it begins: causes are known of layers."""
    if subject.is_whole and (reference is None or candidate.name in PYTORCH_ROWS):
        return None
    with stage(listener, f"{candidate.name}: diagnosis", 1):
        if reference is not None:
            return located_in_layers(subject, reference, row, truth)
        from rnnx.diagnosis.differential import diagnose

        return diagnose(candidate, row, truth, subject.layer, subject.weights, _graph(subject), outputs=subject.outputs)


def _graph(subject: Subject) -> "ModelProto | None":
    """The graph, to name nodes by; None on a host that only runs models."""
    try:
        onnx = import_module("onnx")
    except ModuleNotFoundError:
        return None
    model: ModelProto = onnx.load_model_from_string(subject.model.data)
    return model


def _covered(subject: Subject, name: str, truth: Sequence[CaseTruth]) -> tuple[tuple[CaseTruth, ...], tuple[str, ...]]:
    """The cases that a row takes, and the names of those it does not."""
    fits = [subject.covers(name, sizes_from_feeds(subject.contract.inputs, entry.case.feeds)) for entry in truth]
    pairs = list(zip(truth, fits, strict=True))
    return tuple(entry for entry, fit in pairs if fit), tuple(entry.case.name for entry, fit in pairs if not fit)


def _nothing_covered(subject: Subject, name: str, count: int) -> BackendUnavailable:
    profiles = subject.engine.sidecar.profiles if subject.engine else ()
    ranges = " and ".join(text_from_profile(profile) for profile in profiles)
    return BackendUnavailable(
        f"backend {name}",
        got=f"{count} cases, none within the engine's profile {ranges}",
        expected="at least one",
        remedy="build the engine with a profile that holds the example's sizes"
        if subject.is_whole
        else "with the checkpoint each profile's own shapes are cases too",
    )
