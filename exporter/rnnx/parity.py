"""Parity: how far each backend's `output`, `hn` and `cn` are from the float64 truth, and if that is near enough."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rnnx.candidates import Candidate
from rnnx.golden import GoldenCase
from rnnx.tolerances import products_per_sum, tolerance_for
from rnnx_runtime.contract import Contract, TensorSpec

Array = NDArray[Any]
Status = Literal["pass", "fail", "skip"]


@dataclass(frozen=True, kw_only=True)
class OutputParity:
    """One output of one backend over all cases it ran.

    `max_error` and `mean_error` are absolute, against float64; `float32_error` is the largest of a float32 evaluation
    by PyTorch (by NumPy, from a golden file) on the same inputs. `problem` says what made the values no result at all.
    """

    output: str
    max_error: float
    mean_error: float
    float32_error: float
    limit: float
    worst_case: str
    problem: str = ""

    @property
    def ratio(self) -> float | None:
        """`max_error` in units of `float32_error`; None where that is zero."""
        return self.max_error / self.float32_error if self.float32_error else None

    def __bool__(self) -> bool:
        return not self.problem and self.max_error <= self.limit


@dataclass(frozen=True, kw_only=True)
class ParityRow:
    """One backend. `reason`: why it was skipped or failed; `uncovered`: cases that no profile of an engine takes."""

    backend: str
    status: Status
    device: str = ""
    precision: str = ""
    outputs: tuple[OutputParity, ...] = ()
    cases: int = 0
    uncovered: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class ParityReport:
    """All rows. True when no row failed and at least one ran the exported model, for PyTorch alone proves nothing."""

    rows: tuple[ParityRow, ...]

    def __bool__(self) -> bool:
        return not any(row.status == "fail" for row in self.rows) and any(
            row.status == "pass" and not row.backend.startswith("pytorch") for row in self.rows
        )


def compare(
    candidate: Candidate,
    truth: Sequence[GoldenCase],
    contract: Contract,
    precision: str,
    uncovered: tuple[str, ...] = (),
) -> ParityRow:
    """Run the cases on one backend and judge each output by the precision's tolerance.

    Raises:
        BackendError: the backend failed on a case.
        OptionError: the tolerance table does not know the precision.
    """
    results = [candidate.outputs(golden.case) for golden in truth]
    outputs = tuple(_output_parity(spec, truth, results, contract, precision) for spec in contract.outputs)
    return ParityRow(
        backend=candidate.name,
        device=candidate.device,
        status="pass" if all(outputs) else "fail",
        precision=precision,
        outputs=outputs,
        cases=len(truth),
        uncovered=uncovered,
        reason="; ".join(f"{output.output} {output.problem}" for output in outputs if output.problem),
    )


def _output_parity(
    spec: TensorSpec,
    truth: Sequence[GoldenCase],
    results: Sequence[dict[str, Array]],
    contract: Contract,
    precision: str,
) -> OutputParity:
    name = spec.name
    problems = [_problem(result[name], golden.truth[name], spec) for golden, result in zip(truth, results, strict=True)]
    errors = [
        np.full(1, math.inf) if problem else np.abs(result[name] - golden.truth[name])
        for golden, result, problem in zip(truth, results, problems, strict=True)
    ]
    worst = int(np.argmax([error.max() for error in errors]))
    float32_error = max(golden.float32_error[name] for golden in truth)
    magnitude = max(float(np.abs(golden.truth[name]).max()) for golden in truth)
    return OutputParity(
        output=name,
        max_error=float(errors[worst].max()),
        mean_error=float(np.concatenate([error.ravel() for error in errors]).mean()),
        float32_error=float32_error,
        limit=tolerance_for(precision).limit(float32_error, products_per_sum(contract), magnitude),
        worst_case=truth[worst].case.name,
        problem=f"of case {truth[worst].case.name}: {problems[worst]}" if problems[worst] else "",
    )


def _problem(value: Array, truth: Array, spec: TensorSpec) -> str:
    """What makes a value no result to compare: its dtype, its shape, or a number that is none."""
    if value.dtype != spec.dtype or value.shape != truth.shape:
        return f"got {value.dtype} {value.shape}, expected {spec.dtype} {truth.shape}"
    wrong = int(value.size - np.isfinite(value).sum())
    return f"{wrong} of {value.size} values are NaN or Inf" if wrong else ""
