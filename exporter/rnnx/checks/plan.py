"""What the checks of one model are made with: cases, sequences and their truth, computed once for all backends."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rnnx.checks.batches import check_batch_mates, check_batch_order, check_batch_split
from rnnx.checks.differences import CheckCase
from rnnx.checks.drift import DriftTruth, drift_truth
from rnnx.checks.padding import check_padding
from rnnx.checks.probe import Probe
from rnnx.checks.stream import NEXT_STATES, Stream, obstacle, run_calls
from rnnx.checks.streaming import StreamCase, check_streaming
from rnnx.checks.truth_source import TruthSource
from rnnx.checks.zero_length import check_zero_length
from rnnx.parity.results import CheckResult
from rnnx.truths.case_matrix import MatrixName
from rnnx.truths.cases import Case, distinct_sizes, random_feeds, size_name
from rnnx_runtime.contract import Recurrence


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

    contract: Recurrence
    cases: tuple[CheckCase, ...]
    streams: tuple[StreamCase, ...]
    drift: DriftTruth | None


def plan_checks(
    contract: Recurrence,
    matrix: MatrixName,
    source: TruthSource | None = None,
    *,
    sizes: Sequence[tuple[int, int]] = (),
    drift_steps: int | None = None,
    on_window: Callable[[], None] = lambda: None,
) -> CheckPlan:
    """The cases and sequences of a matrix, with their truth where there is a source of it.

    Without one the limits are the tolerances' floors, and the checks that need a truth are skipped. `sizes` are (T, B)
    of more cases, such as an engine's profile takes. `drift_steps` are the matrix's unless given; `on_window` is called
    up to `drift.WINDOWS` times, for the drift's truth takes longest.
    """
    chosen = CHECK_SIZES[matrix]
    steps = chosen.drift_steps if drift_steps is None else drift_steps
    carried = not obstacle(contract, contract.outputs)
    drifts = source is not None and carried
    return CheckPlan(
        contract=contract,
        cases=tuple(_case(contract, *pair, source) for pair in distinct_sizes(contract, [*chosen.cases, *sizes])),
        streams=tuple(_stream(contract, *pair, source) for pair in chosen.streams) if carried else (),
        drift=drift_truth(contract, source, steps, on_window=on_window) if source and drifts else None,
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


def _case(contract: Recurrence, time: int, batch: int, source: TruthSource | None) -> CheckCase:
    # increasing lengths, for random ones may happen to leave no padding
    case = Case(
        name=size_name(contract, time, batch), feeds=random_feeds(contract, time, batch, seed=0, lengths="increasing")
    )
    return CheckCase(case=case, float32_error=source.float32_error(case) if source else {})


def _stream(contract: Recurrence, time: int, batch: int, source: TruthSource | None) -> StreamCase:
    call = time if contract.form == "encoder" else contract.steps or 1
    calls = 1 if contract.form == "encoder" else max(2, time // call)
    stream = _sequence(contract, call * calls, batch)
    name = f"T{call * calls} B{batch}"
    if source is None:
        return StreamCase(name=name, stream=stream)
    truth, own = (run_calls(run, contract, stream, (call,) * calls).named() for run in (source.double, source.single))
    errors = {output: float(np.abs(own[output] - value).max()) for output, value in truth.items()}
    return StreamCase(name=name, stream=stream, truth=truth, float32_error=errors)


def _sequence(contract: Recurrence, time: int, batch: int) -> Stream:
    """A sequence whose lengths, where the model takes them, are spread from 1 to T."""
    feeds = random_feeds(contract, time, batch, seed=0)
    x = np.random.default_rng([0, time, batch]).standard_normal((time, batch, contract.input_size), np.float32)
    state = {name: feeds[name] for name in NEXT_STATES if name in feeds}
    lengths = np.linspace(1, time, batch).astype(np.int32) if contract.lengths else None
    return Stream(x=x, state=state, lengths=lengths)
