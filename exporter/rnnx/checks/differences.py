"""How far apart values are that ought to be equal, and the result of a check made of such differences."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from rnnx.checks.probe import Probe, Uncovered, is_module
from rnnx.parity.limits import limits_of_values, steps_of
from rnnx.parity.results import CheckName, CheckResult
from rnnx.truths.cases import Case
from rnnx.truths.comparable import comparable
from rnnx_runtime.array_type import Array
from rnnx_runtime.errors import BackendError, RnnxError


@dataclass(frozen=True, kw_only=True)
class CheckCase:
    """A case that a check starts from and, where a truth is known, the largest float32 error of each output.

    `loud` are other inputs of the same sizes, so large that gates saturate.
    """

    case: Case
    loud: Mapping[str, Array] = field(default_factory=dict)
    float32_error: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Two values of one output that ought to be equal: `where` says which, `bitwise` that no bit differs.

    Values of two precisions have no bits to compare, and `bitwise` is None.
    """

    where: str
    largest: float
    limit: float
    bitwise: bool | None

    @property
    def share(self) -> float:
        """The difference as a share of what is allowed."""
        return self.largest / self.limit


def allowed(
    probe: Probe,
    values: Mapping[str, Array],
    feeds: Mapping[str, Array],
    time: int,
    float32_error: Mapping[str, float],
) -> dict[str, float]:
    """The limit of each output's error over `time` steps; without a float32 error the floor alone."""
    return limits_of_values(values, feeds, probe.contract, probe.precision, time=time, float32_error=float32_error)


def allowed_apart(probe: Probe, start: CheckCase, values: Mapping[str, Array]) -> dict[str, float]:
    """How far apart two results of one computation may be: each within the limit of one truth, so within twice it."""
    feeds = start.case.feeds
    limits = allowed(probe, values, feeds, steps_of(probe.contract, feeds), start.float32_error)
    return {name: 2 * limit for name, limit in limits.items()}


def differences(
    where: str, values: Mapping[str, Array], expected: Mapping[str, Array], limits: Mapping[str, float]
) -> Iterator[Difference]:
    """One difference for each output; raises BackendError where their shapes differ."""
    for name, value in values.items():
        other = expected[name]
        if value.shape != other.shape:
            raise BackendError(
                f"{name}, {where}",
                got=f"{value.dtype} {value.shape}",
                expected=str(other.shape),
                remedy="look at the parity row of this backend first",
            )
        apart = np.abs(comparable(value, other).astype(np.float64) - comparable(other, other))
        yield Difference(
            where=f"{name}, {where}",
            largest=float(apart.max()),
            limit=limits[name],
            bitwise=value.tobytes() == other.tobytes() if value.dtype == other.dtype else None,
        )


def conclude(probe: Probe, check: CheckName, done: str, parts: Iterable[Iterator[Difference]]) -> CheckResult:
    """A check's result: its worst difference, or why there is none.

    Parts may raise as `Probe.run`; one that needs sizes that an engine does not take is left out, and the result says
    so.
    """
    compared: list[Difference] = []
    left_out = ""
    for part in parts:
        try:
            compared += list(part)
        except Uncovered as reason:
            left_out = left_out or str(reason)
        except RnnxError as error:
            if not _is_refused_by_the_module(probe, error):
                return failed(probe, check, str(error))
            left_out = left_out or f"the module itself does not take it: {error.got}"
    if compared:
        return _of_differences(probe, check, done, compared, left_out)
    return skipped(probe, check, left_out or "no case of such sizes is known")


def _is_refused_by_the_module(probe: Probe, error: RnnxError) -> bool:
    """Whether a whole model's own code raised, such as for lengths that do not fall, which the exported file takes."""
    return is_module(probe) and error.subject == f"backend {probe.candidate.name}"


def _of_differences(
    probe: Probe, check: CheckName, done: str, compared: Sequence[Difference], left_out: str
) -> CheckResult:
    worst = max(compared, key=lambda difference: difference.share)
    known = [difference.bitwise for difference in compared if difference.bitwise is not None]
    bitwise = all(known) if known else None
    beyond = sum(not difference.share <= 1 for difference in compared)
    outcome = "no bit differs" if bitwise else f"furthest apart in {worst.where}"
    outcome += f" ({beyond} of {len(compared)} comparisons beyond the limit)" if beyond else ""
    return CheckResult(
        backend=probe.candidate.name,
        check=check,
        status="fail" if beyond else "pass",
        detail=f"{done}: {outcome}{'; not all, for ' if left_out else ''}{left_out}",
        max_difference=worst.largest,
        limit=worst.limit,
        bitwise=bitwise,
    )


def skipped(probe: Probe, check: CheckName, reason: str) -> CheckResult:
    """A check that does not apply, or could not be made."""
    return CheckResult(backend=probe.candidate.name, check=check, status="skip", detail=reason)


def failed(probe: Probe, check: CheckName, reason: str) -> CheckResult:
    """A check in which there was nothing to compare, because something was wrong before."""
    return CheckResult(backend=probe.candidate.name, check=check, status="fail", detail=reason)
