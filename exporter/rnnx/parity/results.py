"""What a check of a property found, as values that a report holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Status = Literal["pass", "fail", "skip"]

CheckName = Literal["streaming", "padding", "batch-order", "batch-mates", "batch-split", "zero-length"]

CHECK_NAMES: tuple[CheckName, ...] = get_args(CheckName)


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """One property of one backend.

    `max_difference` is the largest absolute difference between values that ought to be equal and `limit` what the
    tolerance table allows it to be, both None where nothing was compared. `bitwise` says that no bit differed, None
    where nothing was compared or only with a float64 truth. `detail` says what was done and where it was worst, or why
    it was skipped or failed.
    """

    backend: str
    check: CheckName
    status: Status
    detail: str
    max_difference: float | None = None
    limit: float | None = None
    bitwise: bool | None = None

    def __bool__(self) -> bool:
        return self.status != "fail"


@dataclass(frozen=True, kw_only=True)
class DriftCurve:
    """How a backend's error grows while its state is fed back to it, step after step.

    `at` are step numbers counted from 1; `errors[i]` is the largest absolute error of `output` (`hn` for a step) since
    the step before in `at`, and `float32_errors[i]` PyTorch's own float32 error over the same steps. `slope_per_step`
    is the least-squares slope of `errors` over `at`. A curve fails when `worst_error` exceeds `limit`, or when it has
    `status` "fail" with the `reason`; a curve that could not be measured is "skip" with the reason and empty points.
    """

    backend: str
    status: Status
    precision: str = ""
    steps: int = 0
    at: tuple[int, ...] = ()
    errors: tuple[float, ...] = ()
    float32_errors: tuple[float, ...] = ()
    slope_per_step: float = 0.0
    worst_step: int = 0
    worst_error: float = 0.0
    limit: float = 0.0
    reason: str = ""

    def __bool__(self) -> bool:
        return self.status != "fail"


def all_hold(results: Sequence[CheckResult | DriftCurve]) -> bool:
    """Whether none failed."""
    return all(results)
