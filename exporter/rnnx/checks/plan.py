"""What the checks of one model are made with: cases, sequences and their truth, computed once for all backends."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from rnnx.checks.batches import check_batch_mates, check_batch_order, check_batch_split
from rnnx.checks.differences import CheckCase
from rnnx.checks.drift import DriftTruth, drift_truth, stepwise_output
from rnnx.checks.padding import check_padding
from rnnx.checks.probe import Probe
from rnnx.checks.streaming import StreamCase, check_streaming
from rnnx.checks.truth_source import TruthSource
from rnnx.checks.zero_length import check_zero_length
from rnnx.parity.results import CheckResult
from rnnx.truths.comparable import largest_apart
from rnnx.truths.matrix_names import MatrixName
from rnnx.truths.model_cases import CaseSource, distinct, drawn
from rnnx.truths.rows import LOUD
from rnnx.truths.stream import Calls, Stream, obstacle, run_calls
from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Contract

_Found = TypeVar("_Found")


@dataclass(frozen=True, kw_only=True)
class CheckSizes:
    """(T, B) of the cases and of the sequences given in several calls, and the steps of the drift."""

    cases: tuple[tuple[int, int], ...]
    streams: tuple[tuple[int, int], ...]
    drift_steps: int


CHECK_SIZES: dict[MatrixName, CheckSizes] = {
    "quick": CheckSizes(cases=((7, 5),), streams=((7, 3),), drift_steps=1_000),
    "full": CheckSizes(cases=((7, 5), (33, 8)), streams=((7, 3), (60, 2)), drift_steps=10_000),
    "soak": CheckSizes(cases=((7, 5), (33, 8), (200, 33)), streams=((7, 3), (60, 2), (500, 1)), drift_steps=10_000),
}
"""The sizes that each matrix of cases brings along."""


@dataclass(frozen=True, kw_only=True)
class CheckPlan:
    """All that the checks share among backends; `drift` is None without weights, or where no state can be carried."""

    contract: Contract
    cases: tuple[CheckCase, ...]
    streams: tuple[StreamCase, ...]
    drift: DriftTruth | None


def plan_checks(
    inputs: CaseSource,
    matrix: MatrixName,
    source: TruthSource | None = None,
    *,
    sizes: Sequence[tuple[int, int]] = (),
    left_out: Sequence[tuple[int, int]] = (),
    float32_error: Mapping[str, float] | None = None,
    drift_steps: int | None = None,
    on_window: Callable[[], None] = lambda: None,
) -> CheckPlan:
    """The cases and sequences of a matrix, with their truth where there is a source of it.

    Without one the limits are those of `float32_error`, or the tolerances' floors, and the checks that need a truth are
    skipped. `sizes` are (T, B) of more cases, such as an engine's profile takes; `left_out` are those that the model
    itself does not take. `drift_steps` are the matrix's unless given. `on_window` is called up to `drift.WINDOWS`
    times: the drift's truth takes longest.
    """
    chosen, contract = CHECK_SIZES[matrix], inputs.contract
    steps = chosen.drift_steps if drift_steps is None else drift_steps
    carried = not obstacle(contract, contract.outputs)
    drift = None
    if source is not None and carried and stepwise_output(contract, contract.outputs):
        sequence = functools.partial(drawn_stream, inputs, batch=1, seed=0)
        drift = _known_of(inputs, source, lambda own: drift_truth(contract, own, sequence, steps, on_window=on_window))
        drift = drift or DriftTruth(windows=(), problem="PyTorch raises for so many steps")
    known = float32_error or {}
    cases = [pair for pair in (*chosen.cases, *sizes) if pair not in left_out]
    streams = [pair for pair in chosen.streams if pair not in left_out] or sizes[:1]
    return CheckPlan(
        contract=contract,
        cases=tuple(_case(inputs, *pair, source, known) for pair in distinct(inputs, cases)),
        streams=tuple(filter(None, (_stream(inputs, *pair, source, known) for pair in streams))) if carried else (),
        drift=drift,
    )


def run_checks(
    probe: Probe, plan: CheckPlan, *, on_check: Callable[[], None] = lambda: None
) -> tuple[CheckResult, ...]:
    """Every check of `CHECK_NAMES` on one backend, in their order; `on_check` is called after each."""
    checks: tuple[Callable[[], CheckResult], ...] = (
        lambda: check_streaming(probe, plan.streams),
        lambda: check_padding(probe, plan.cases),
        lambda: check_batch_order(probe, plan.cases),
        lambda: check_batch_mates(probe, plan.cases),
        lambda: check_batch_split(probe, plan.cases),
        lambda: check_zero_length(probe, plan.cases),
    )
    results = []
    for check in checks:
        results.append(check())
        on_check()
    return tuple(results)


def drawn_stream(inputs: CaseSource, time: int, *, batch: int, seed: int, lengths: Array | None = None) -> Stream:
    """A sequence of drawn inputs, and the states it starts from."""
    contract, calls = inputs.contract, Calls(inputs.contract)
    if contract.bare is not None:
        shape = (time, batch, contract.bare.input_size)
        frames = {"x": np.random.default_rng([seed, time, batch]).standard_normal(shape, np.float32)}
        first = drawn(inputs, time, batch, seed).feeds
    elif calls.has_time:
        first = drawn(inputs, time, batch, seed).feeds
        frames = {spec.name: calls.time_first(spec, first[spec.name]) for spec in calls.framed}
    else:
        cases = [drawn(inputs, 1, batch, [seed, step]).feeds for step in range(time)]
        first = cases[0]
        frames = {spec.name: np.stack([feeds[spec.name] for feeds in cases]) for spec in calls.framed}
    return Stream(
        frames=frames,
        state={spec.name: first[spec.name] for spec in contract.state_specs},
        fixed={spec.name: first[spec.name] for spec in calls.fixed},
        unit=calls.unit,
        lengths=lengths if contract.lengths else None,
    )


def _case(
    inputs: CaseSource, time: int, batch: int, source: TruthSource | None, known: Mapping[str, float]
) -> CheckCase:
    # increasing lengths, for random ones may happen to leave no padding
    case = drawn(inputs, time, batch, seed=0, lengths="increasing")
    loud = drawn(inputs, time, batch, seed=1, scale=LOUD).feeds
    errors = _known_of(inputs, source, lambda own: own.float32_error(case))
    return CheckCase(case=case, loud=loud, float32_error=known if errors is None else errors)


def _stream(
    inputs: CaseSource, time: int, batch: int, source: TruthSource | None, known: Mapping[str, float]
) -> StreamCase | None:
    """A sequence whose lengths, where the model takes them, are spread from 1 to T; None where PyTorch gives NaN."""
    contract, calls = inputs.contract, Calls(inputs.contract)
    call = (calls.steps or time) if calls.has_time else 1
    count = 1 if calls.has_time and calls.steps is None else max(2, time // call)
    lengths = np.linspace(1, call * count, batch).astype(np.int32)
    stream = drawn_stream(inputs, call * count, batch=batch, seed=0, lengths=lengths)
    name = f"T{call * count} B{batch}"
    found = _known_of(
        inputs,
        source,
        lambda own: [run_calls(run, contract, stream, (call,) * count).named() for run in (own.double, own.single)],
    )
    if found is None:
        return StreamCase(name=name, stream=stream, float32_error=known)
    truth, own = found
    if any(np.isnan(value).any() for value in truth.values()):
        return None
    errors = {output: largest_apart(own[output], value) for output, value in truth.items()}
    return StreamCase(name=name, stream=stream, truth=truth, float32_error=errors)


def _known_of(inputs: CaseSource, source: TruthSource | None, find: Callable[[TruthSource], _Found]) -> _Found | None:
    """What a source says; None without one, and where a whole model's own code does not take such inputs."""
    if source is None:
        return None
    try:
        return find(source)
    except Exception:  # lengths that do not fall, for one, which the exported file takes
        if inputs.contract.bare is not None:
            raise
        return None
