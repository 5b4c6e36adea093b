"""The values that a backend gave for the cases of a row, beside the truth and what passes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rnnx.diagnosis.prober import Prober
from rnnx.parity.closeness import problem_of
from rnnx.parity.limits import limit_of
from rnnx.parity.parity import ParityRow
from rnnx.truths.cases import time_of
from rnnx.truths.truth import CaseTruth
from rnnx_runtime.array_type import Array
from rnnx_runtime.arrays.dim_sizes import sizes_from_feeds

_MOST_CASES = 16
"""Cases that a hypothesis is tried on: the failing ones first, the smallest first."""

_LONGEST = 64
"""Time steps of the longest case that is tried while a shorter one fails too."""

UNEXPLAINED = 0.01
"""The share of the error against the truth that a prediction may leave: float32 rounds differently around a fault."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One case: what the backend gave, the limit of each output, and by output what made a value no result."""

    entry: CaseTruth
    time: int
    batch: int
    values: Mapping[str, Array]
    limits: Mapping[str, float]
    problems: Mapping[str, str]
    failure: str = ""

    @property
    def ran(self) -> bool:
        """Whether every output is a result that can be compared."""
        return not self.problems

    def error(self, name: str, expected: Array) -> float:
        """The largest difference of an output from `expected`; infinite for another shape or a number that is none."""
        value = self.values.get(name)
        if value is None or value.shape != expected.shape:
            return float("inf")
        same = (value == expected) | (np.isnan(value) & np.isnan(expected))
        with np.errstate(invalid="ignore"):
            error = float(np.where(same, 0, np.abs(value.astype(np.float64) - expected)).max())
        return error if error == error else float("inf")

    def agrees(self, expected: Mapping[str, Array] | None) -> bool:
        """Whether a prediction explains the values; None predicts that the backend refuses the case."""
        if expected is None or self.failure:
            return expected is None and bool(self.failure)
        return all(self.error(name, expected[name]) <= self.allowed(name) for name in self.limits)

    def allowed(self, name: str) -> float:
        """How far from a prediction an output may be."""
        error = self.error(name, self.entry.truth[name])
        return max(self.limits[name], UNEXPLAINED * error if np.isfinite(error) else 0.0)

    @property
    def failed(self) -> tuple[str, ...]:
        """The outputs that the truth does not explain."""
        return tuple(name for name in self.limits if not self.error(name, self.entry.truth[name]) <= self.limits[name])


def observe(prober: Prober, row: ParityRow, truth: Sequence[CaseTruth]) -> tuple[Observation, ...]:
    """Run the cases once more, the failing ones first and of these the smallest; long ones where only they fail."""
    failing = {result.case for result in row.failures}
    ordered = sorted(truth, key=lambda entry: (entry.case.name not in failing, _size(prober, entry)))
    chosen = [entry for entry in ordered if time_of(prober.contract, entry.case.feeds) <= _LONGEST]
    if not any(entry.case.name in failing for entry in chosen):
        chosen = ordered[:1] + chosen
    return tuple(observed(prober, entry, row.precision) for entry in chosen[:_MOST_CASES])


def observed(prober: Prober, entry: CaseTruth, precision: str) -> Observation:
    """One case run and judged."""
    answer = prober.ask(entry.case.feeds)
    specs = [spec for spec in prober.outputs if spec.name in entry.truth]
    found = {spec.name: problem_of(answer.values.get(spec.name), entry.truth[spec.name], spec) for spec in specs}
    return Observation(
        entry=entry,
        time=time_of(prober.contract, entry.case.feeds),
        batch=sizes_from_feeds(prober.contract.inputs, entry.case.feeds)["B"],
        values=answer.values,
        limits={spec.name: limit_of(entry, spec.name, prober.contract, precision) for spec in specs},
        problems={name: problem for name, problem in found.items() if problem},
        failure="" if answer.values else answer.failure,
    )


def _size(prober: Prober, entry: CaseTruth) -> tuple[int, int]:
    size = time_of(prober.contract, entry.case.feeds)
    return size * sizes_from_feeds(prober.contract.inputs, entry.case.feeds)["B"], size
