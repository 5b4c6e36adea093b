"""What the rows of a verification are held to: a layer's weights, a whole model's module, or either's golden file."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from rnnx.checks.drift import WINDOWS
from rnnx.checks.plan import CHECK_SIZES, plan_checks
from rnnx.checks.truth_source import TruthSource, source_from_weights
from rnnx.progress import ProgressListener, stage
from rnnx.runners.subject import Subject
from rnnx.runners.verify_options import MOST_TIMED_STEPS, VerifyOptions
from rnnx.timing.inputs import steps_of_call
from rnnx.truths.case_matrix import matrix_cases
from rnnx.truths.golden import read_golden
from rnnx.truths.matrix_names import MatrixName
from rnnx.truths.model_cases import CaseSource, drawn
from rnnx.truths.model_golden import ModelTruth
from rnnx.truths.truth import CaseTruth
from rnnx.verifying.model_reference import ModelReference
from rnnx.verifying.row_verification import Expectation
from rnnx_runtime.arrays.dim_sizes import sizes_from_feeds

Pair = tuple[int, int]
"""T and B."""


def expectation_of(
    subject: Subject,
    golden: ModelTruth | None,
    reference: ModelReference | None,
    options: VerifyOptions,
    timed: Mapping[str, int],
    listener: ProgressListener,
) -> Expectation:
    """The truth and the plan of the checks.

    Args:
        subject: the model.
        golden: a whole model's golden file.
        reference: its module, where that is given.
        options: the matrix.
        timed: the sizes that latency is measured at.
        listener: is told how far the call is.

    Raises:
        GoldenError: the truth is a layer's golden file, and that is missing, damaged or another model's.
    """
    if golden is not None:
        return _of_model(subject, golden, reference, options, timed, listener)
    inputs = CaseSource(contract=subject.contract, example={})
    if subject.weights is None:
        truth = read_golden(subject.golden, subject.contract)
        return Expectation(truth=truth, plan=plan_checks(inputs, "quick"), inputs=inputs)
    from rnnx.truths.torch_reference import torch_truth

    own_sizes = _layer_sizes(subject, options, timed)
    found = matrix_cases(subject.layer, options.matrix, own_sizes)
    with stage(listener, "truth in float64", len(found)) as part_done:
        truth = torch_truth(subject.weights, subject.layer, found, on_case=part_done)
    source = source_from_weights(subject.weights, subject.layer)
    with stage(listener, "truth of a long sequence", WINDOWS) as part_done:
        plan = plan_checks(inputs, options.matrix, source, sizes=own_sizes, on_window=part_done)
    return Expectation(truth=truth, plan=plan, inputs=inputs)


def truth_title(subject: Subject, reference: ModelReference | None, options: VerifyOptions) -> str:
    """Where the truth comes from, for a report."""
    golden = f"golden file {subject.golden.name}"
    if subject.contract.truth == "onnxruntime-float32" and reference is None:
        return f"{golden}, ONNX Runtime in float32 (no PyTorch truth)"
    if subject.is_whole:
        title = f"{reference.live.title if reference else golden}, PyTorch in float64"
    elif options.checkpoint is None:
        title = f"{golden}, NumPy in float64"
    else:
        title = f"PyTorch in float64, weights of {Path(options.checkpoint).name}"
    return title + _as_given(subject)


def _as_given(subject: Subject) -> str:
    """What a file's inputs and outputs are in place of the contract's dtypes, where another tool changed them."""
    if subject.like is None or subject.foreign is None:
        return ""
    changed = subject.foreign.dtypes_text
    return f"; {subject.model.path.name} has {changed}" if changed else ""


def yardstick_of(subject: Subject, *, has_weights: bool) -> str:
    """Whose float32 errors stand beside the backends', for a report."""
    if subject.contract.truth == "onnxruntime-float32":
        return "ONNX Runtime"
    return "PyTorch" if has_weights or subject.is_whole else "NumPy"


def _of_model(
    subject: Subject,
    golden: ModelTruth,
    reference: ModelReference | None,
    options: VerifyOptions,
    timed: Mapping[str, int],
    listener: ProgressListener,
) -> Expectation:
    inputs = CaseSource(contract=subject.contract, example=golden.example.case.feeds)
    errors = {
        spec.name: max(entry.float32_error[spec.name] for entry in golden.entries) for spec in subject.contract.outputs
    }
    known = [_pair(inputs, entry) for entry in golden.entries]
    if reference is None:
        sizes, left_out = _known_sizes("quick", known.__contains__, known)
        plan = plan_checks(inputs, "quick", sizes=sizes, left_out=left_out, float32_error=errors)
        return Expectation(truth=golden.entries, plan=plan, inputs=inputs, left_out=golden.left_out)
    truth, source = reference.truth(timed, listener), reference.source()
    corners = [(sizes.get("T", 1), sizes.get("B", 1)) for sizes in subject.profile_corners()]
    runs = functools.partial(_runs, source, inputs)
    sizes, left_out = _known_sizes(options.matrix, runs, known, [pair for pair in corners if runs(pair)])
    with stage(listener, "truth of a long sequence", WINDOWS) as part_done:
        plan = plan_checks(
            inputs,
            options.matrix,
            source,
            sizes=sizes,
            left_out=left_out,
            float32_error=errors,
            on_window=part_done,
        )
    return Expectation(truth=truth.entries, plan=plan, inputs=inputs, left_out=truth.left_out)


def _known_sizes(
    matrix: MatrixName,
    is_taken: Callable[[Pair], bool],
    known: Sequence[Pair],
    more: Sequence[Pair] = (),
) -> tuple[list[Pair], list[Pair]]:
    """(T, B) of the checks besides a matrix's own, such as a known one of several rows, and those that are left out."""
    chosen = CHECK_SIZES[matrix]
    left_out = [pair for pair in dict.fromkeys((*chosen.cases, *chosen.streams)) if not is_taken(pair)]
    sizes = list(more)
    if not set(chosen.cases) - set(left_out):
        sizes += [pair for pair in known if pair[1] > 1][:1]
    return sizes, left_out


def _pair(inputs: CaseSource, entry: CaseTruth) -> Pair:
    sizes = sizes_from_feeds(inputs.contract.inputs, entry.case.feeds)
    return sizes.get("T", 1), sizes.get("B", 1)


def _runs(source: TruthSource, inputs: CaseSource, pair: Pair) -> bool:
    """Whether the module has an answer for inputs of these sizes, lengths in any order included."""
    try:
        values = source.double(drawn(inputs, *pair, seed=0, lengths="increasing"))
    except Exception:  # the model's own, which may raise anything at sizes that it does not take
        return False
    return not any(np.isnan(value).any() for value in values.values())


def _layer_sizes(subject: Subject, options: VerifyOptions, timed: Mapping[str, int]) -> Sequence[Pair]:
    """(T, B) that a matrix may miss: a profile's, what a foreign graph's inputs fix, and the shape that is timed.

    A shape that was not verified must not be timed in this process.
    """
    corners = subject.profile_corners()
    fixed = subject.foreign.fixed if subject.foreign else {}
    corners += [{"T": 5, "B": batch, **fixed} for batch in (1, 3)] if fixed else []
    corners += [timed] if options.latency and steps_of_call(subject.contract, timed) <= MOST_TIMED_STEPS else []
    steps = subject.layer.steps or 1
    return [(sizes.get("T", steps), sizes.get("B", 1)) for sizes in corners]
