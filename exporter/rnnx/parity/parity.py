"""Parity: how far each backend's `output`, `hn` and `cn` are from the float64 truth, and if that is near enough."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rnnx.parity.closeness import NOTHING_COMPARED, Closeness, closeness, problem_of, worst_of
from rnnx.parity.limits import limits_of
from rnnx.parity.results import Status
from rnnx.parity.tolerances import tolerance_for
from rnnx.runners.candidates import Candidate
from rnnx.runners.row_names import runs_the_model
from rnnx.truths.comparable import comparable
from rnnx.truths.truth import CaseTruth
from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Contract, TensorSpec
from rnnx_runtime.errors import RnnxError


@dataclass(frozen=True, kw_only=True)
class CaseParity:
    """One output of one case on one backend.

    Errors are absolute, against float64; `float32_error` is the largest of a float32 evaluation by PyTorch (by NumPy,
    from a golden file) on the same inputs. `problem` says what made the values no result at all, and then no error is
    given.
    """

    case: str
    output: str
    float32_error: float
    limit: float
    closeness: Closeness | None = None
    problem: str = ""

    @property
    def ratio(self) -> float | None:
        """The error ratio: the largest error in units of `float32_error`; None where there is none or that is zero."""
        return self.closeness.max_error / self.float32_error if self.closeness and self.float32_error else None

    @property
    def share(self) -> float:
        """The largest error as a share of the limit; infinite where there is no result."""
        return self.closeness.max_error / self.limit if self.closeness else float("inf")

    def __bool__(self) -> bool:
        return not self.problem and self.share <= 1


@dataclass(frozen=True, kw_only=True)
class OutputParity:
    """One output of one backend over all cases it ran.

    Of each figure the worst: of the errors the largest, of the cosine the smallest. `worst_case` is the one nearest to,
    or furthest beyond, its own `limit`; `problem` is the first case's that has one.
    """

    output: str
    max_error: float
    mean_error: float
    p99_error: float
    max_relative_error: float
    cosine: float
    float32_error: float
    limit: float
    worst_case: str
    passed: bool
    problem: str = ""

    @property
    def ratio(self) -> float | None:
        """`max_error` in units of `float32_error`; None where that is zero."""
        return self.max_error / self.float32_error if self.float32_error else None

    def __bool__(self) -> bool:
        return self.passed


@dataclass(frozen=True, kw_only=True)
class ParityRow:
    """One backend. `reason`: why it was skipped or failed; `uncovered`: cases that no profile of an engine takes."""

    backend: str
    status: Status
    device: str = ""
    precision: str = ""
    outputs: tuple[OutputParity, ...] = ()
    results: tuple[CaseParity, ...] = ()
    uncovered: tuple[str, ...] = ()
    reason: str = ""

    @property
    def cases(self) -> int:
        """How many cases ran."""
        return len({result.case for result in self.results})

    @property
    def failures(self) -> tuple[CaseParity, ...]:
        """The results that did not pass, in the order of the cases."""
        return tuple(result for result in self.results if not result)


@dataclass(frozen=True, kw_only=True)
class ParityReport:
    """All rows. True when no row failed and at least one ran the exported model as a service would."""

    rows: tuple[ParityRow, ...]

    def __bool__(self) -> bool:
        return not any(row.status == "fail" for row in self.rows) and any(
            row.status == "pass" and runs_the_model(row.backend) for row in self.rows
        )


def compare(
    candidate: Candidate,
    truth: Sequence[CaseTruth],
    contract: Contract,
    precision: str,
    *,
    outputs: Sequence[TensorSpec] | None = None,
    uncovered: tuple[str, ...] = (),
    on_case: Callable[[], None] = lambda: None,
) -> ParityRow:
    """Run the cases on one backend and judge each output of each case by the precision's tolerance.

    A case that the backend fails on is a failure with its message; the others still run. `outputs` are the contract's
    unless fewer are given; `on_case` is called after each case.

    Raises:
        OptionError: the tolerance table does not know the precision.
    """
    tolerance_for(precision)
    specs = contract.outputs if outputs is None else outputs
    results: list[CaseParity] = []
    for entry in truth:
        results += _case_parity(candidate, entry, contract, precision, specs)
        on_case()
    return ParityRow(
        backend=candidate.name,
        device=candidate.device,
        status="pass" if all(results) else "fail",
        precision=precision,
        outputs=tuple(_over_cases(spec.name, results) for spec in specs),
        results=tuple(results),
        uncovered=uncovered,
        reason=_reason(results),
    )


def failures(candidate: Candidate, truth: Sequence[CaseTruth], contract: Contract) -> tuple[CaseParity, ...]:
    """The failures that `compare` would give, at less cost: no figures of what passed."""
    found: list[CaseParity] = []
    for entry in truth:
        values, failure = _values(candidate, entry)
        limits = limits_of(entry, (spec.name for spec in contract.outputs), contract, contract.precision)
        for spec in contract.outputs:
            if failure or not _passes(values.get(spec.name), entry.truth[spec.name], spec, contract, limits[spec.name]):
                found.append(_judged(entry, spec, contract, values, limits, failure))
    return tuple(found)


def _passes(value: Array | None, truth: Array, spec: TensorSpec, contract: Contract, limit: float) -> bool:
    """Whether a value is surely within its limit; NaN is within none."""
    if value is None or value.dtype != spec.dtype or value.shape != truth.shape:
        return False
    if contract.bare is None:
        value, truth = comparable(value, truth), comparable(truth, truth)
    return not value.size or bool(np.abs(value.astype(np.float64) - truth).max() <= limit)


def _reason(results: Sequence[CaseParity]) -> str:
    """The first case's problems, said once where they are one message of the backend for all its outputs."""
    broken = [result for result in results if result.problem]
    if not broken:
        return ""
    first = [result for result in broken if result.case == broken[0].case]
    texts = {result.problem for result in first}
    if len(texts) == 1 and len(first) == len({result.output for result in results}):
        text = f"case {first[0].case}: {first[0].problem}"
    else:
        text = "; ".join(f"{result.output} of case {result.case}: {result.problem}" for result in first)
    others = len({result.case for result in broken}) - 1
    return text + (f" (and {others} more case{'s' if others > 1 else ''})" if others else "")


def _case_parity(
    candidate: Candidate,
    entry: CaseTruth,
    contract: Contract,
    precision: str,
    specs: Sequence[TensorSpec],
) -> Iterator[CaseParity]:
    values, failure = _values(candidate, entry)
    limits = limits_of(entry, (spec.name for spec in specs), contract, precision)
    for spec in specs:
        yield _judged(entry, spec, contract, values, limits, failure)


def _values(candidate: Candidate, entry: CaseTruth) -> tuple[dict[str, Array], str]:
    """A candidate's outputs for a case, or none and what it says of that."""
    try:
        return candidate.outputs(entry.case), ""
    except RnnxError as error:
        return {}, str(error)


def _judged(
    entry: CaseTruth,
    spec: TensorSpec,
    contract: Contract,
    values: Mapping[str, Array],
    limits: Mapping[str, float],
    failure: str,
) -> CaseParity:
    value, truth = values.get(spec.name), entry.truth[spec.name]
    if contract.bare is None and value is not None:
        value, truth = comparable(value, truth), comparable(truth, truth)
    problem = failure or problem_of(value, truth, spec)
    return CaseParity(
        case=entry.case.name,
        output=spec.name,
        float32_error=entry.float32_error[spec.name],
        limit=limits[spec.name],
        closeness=None if problem or value is None else closeness(value, truth),
        problem=problem,
    )


def _over_cases(name: str, results: Sequence[CaseParity]) -> OutputParity:
    own = [result for result in results if result.output == name]
    worst = max(own, key=lambda result: result.share)
    problems = [f"of case {result.case}: {result.problem}" for result in own if result.problem]
    figures = NOTHING_COMPARED if problems else worst_of([result.closeness for result in own if result.closeness])
    return OutputParity(
        output=name,
        max_error=figures.max_error,
        mean_error=figures.mean_error,
        p99_error=figures.p99_error,
        max_relative_error=figures.max_relative_error,
        cosine=figures.cosine,
        float32_error=max(result.float32_error for result in own),
        limit=worst.limit,
        worst_case=worst.case,
        passed=all(own),
        problem=problems[0] if problems else "",
    )
