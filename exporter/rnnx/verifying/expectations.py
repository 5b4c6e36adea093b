"""What the rows of a verification are held to: a layer's weights, a whole model's module, or either's golden file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rnnx.checks.drift import WINDOWS
from rnnx.checks.plan import CHECK_SIZES, plan_checks
from rnnx.checks.truth_source import TruthSource, source_from_weights
from rnnx.progress import ProgressListener, stage
from rnnx.runners.subject import Subject
from rnnx.runners.verify_options import MOST_TIMED_STEPS, VerifyOptions
from rnnx.timing.inputs import steps_of_call, timed_sizes
from rnnx.truths.case_matrix import MatrixName, matrix_cases
from rnnx.truths.golden import golden_path, read_golden
from rnnx.truths.model_cases import CaseSource, drawn
from rnnx.truths.model_golden import read_model_golden
from rnnx.truths.truth import CaseTruth
from rnnx.verifying.model_reference import ModelReference
from rnnx.verifying.row_verification import Expectation
from rnnx_runtime.arrays.dim_sizes import sizes_from_feeds


def expectation_of(
    subject: Subject, reference: ModelReference | None, options: VerifyOptions, listener: ProgressListener
) -> Expectation:
    """The truth and the plan of the checks.

    Raises:
        GoldenError: it is the golden file's, and that is missing, damaged or another model's.
        OptionError: a shape of the latency that the model fixes.
    """
    if subject.is_whole:
        return _of_model(subject, reference, options, listener)
    inputs = CaseSource(contract=subject.contract, example={})
    timed = timed_sizes(inputs, options.sizes)
    if subject.weights is None:
        truth = read_golden(golden_path(subject.model.path), subject.contract)
        return Expectation(truth=truth, plan=plan_checks(inputs, "quick"), inputs=inputs)
    from rnnx.truths.torch_reference import torch_truth

    own_sizes = _layer_sizes(subject, options, timed)
    found = matrix_cases(subject.layer, options.matrix, own_sizes)
    with stage(listener, "truth in float64", len(found)):
        truth = torch_truth(subject.weights, subject.layer, found, on_case=listener.part_done)
    source = source_from_weights(subject.weights, subject.layer)
    with stage(listener, "truth of a long sequence", WINDOWS):
        plan = plan_checks(inputs, options.matrix, source, sizes=own_sizes, on_window=listener.part_done)
    return Expectation(truth=truth, plan=plan, inputs=inputs)


def truth_title(subject: Subject, reference: ModelReference | None, options: VerifyOptions) -> str:
    """Where the truth comes from, for a report."""
    golden = f"golden file {golden_path(subject.model.path).name}"
    if subject.is_whole:
        return f"{reference.title if reference else golden}, PyTorch in float64"
    if options.checkpoint is None:
        return f"{golden}, NumPy in float64"
    return f"PyTorch in float64, weights of {Path(options.checkpoint).name}"


def _of_model(
    subject: Subject, reference: ModelReference | None, options: VerifyOptions, listener: ProgressListener
) -> Expectation:
    golden = read_model_golden(golden_path(subject.model.path), subject.contract)
    inputs = CaseSource(contract=subject.contract, example=golden.example.case.feeds)
    timed = timed_sizes(inputs, options.sizes)
    truth = golden if reference is None else reference.truth(timed, listener)
    known = [_pair(inputs, entry) for entry in golden.entries]
    source = None if reference is None else reference.source()
    matrix: MatrixName = "quick" if reference is None else options.matrix
    chosen = CHECK_SIZES[matrix]
    wanted = dict.fromkeys((*chosen.cases, *chosen.streams))
    taken = [pair for pair in wanted if (pair in known if source is None else _runs(source, inputs, pair))]
    more = [pair for pair in known if pair[1] > 1][:1] if not set(taken) & set(chosen.cases) else []
    errors = {
        spec.name: max(entry.float32_error[spec.name] for entry in golden.entries) for spec in subject.contract.outputs
    }
    with stage(listener, "truth of a long sequence", WINDOWS):
        plan = plan_checks(
            inputs,
            matrix,
            source,
            sizes=more,
            left_out=[pair for pair in wanted if pair not in taken],
            float32_error=errors,
            on_window=listener.part_done,
        )
    return Expectation(truth=truth.entries, plan=plan, inputs=inputs, left_out=truth.left_out)


def _pair(inputs: CaseSource, entry: CaseTruth) -> tuple[int, int]:
    sizes = sizes_from_feeds(inputs.contract.inputs, entry.case.feeds)
    return sizes.get("T", 1), sizes.get("B", 1)


def _runs(source: TruthSource, inputs: CaseSource, pair: tuple[int, int]) -> bool:
    """Whether the module has an answer for inputs of these sizes, lengths in any order included."""
    try:
        values = source.double(drawn(inputs, *pair, seed=0, lengths="increasing"))
    except Exception:  # the model's own, which may raise anything at sizes that it does not take
        return False
    return not any(np.isnan(value).any() for value in values.values())


def _layer_sizes(subject: Subject, options: VerifyOptions, timed: Mapping[str, int]) -> Sequence[tuple[int, int]]:
    """(T, B) that a matrix may miss: a profile's smallest and best, what a foreign graph's inputs fix, and the shape
    that latency is measured at, for a shape that was not verified must not be timed in this process.

    A profile's largest may take float64 minutes.
    """
    profiles = subject.engine.sidecar.profiles if subject.engine else ()
    corners: list[Mapping[str, int]] = [
        {dim: getattr(sizes, corner) for dim, sizes in profile.items()}
        for profile in profiles
        for corner in ("min", "opt")
    ]
    fixed = subject.foreign.fixed if subject.foreign else {}
    corners += [{"T": 5, "B": batch, **fixed} for batch in (1, 3)] if fixed else []
    corners += [timed] if options.latency and steps_of_call(subject.contract, timed) <= MOST_TIMED_STEPS else []
    steps = subject.layer.steps or 1
    return [(sizes.get("T", steps), sizes.get("B", 1)) for sizes in corners]
