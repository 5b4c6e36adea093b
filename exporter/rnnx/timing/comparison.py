"""What moved between two reports of the same model, beyond what two runs of the unchanged model differ by.

Within one run intervals are narrow, and two runs still differ: memory lies elsewhere, and the machine is in another
mood. Kalibera and Jones, "Rigorous Benchmarking in Reasonable Time" (ISMM 2013): repetitions within a process say
nothing of the variance between processes. So an interval alone never decides here.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rnnx.errors import ReportError
from rnnx.timing.figures import BenchReport, Estimate, LatencyReport
from rnnx.timing.fingerprint import differences
from rnnx.timing.judged_figures import Figure, Figures, bench_figures, latency_figures
from rnnx.timing.latency import BASELINE
from rnnx.timing.other_work import NO_WORK

Verdict = Literal["no change", "slower", "faster", "more", "less"]

BETWEEN_RUNS = 0.06
"""By how much, as a deviation of the logarithm, runs of an unchanged model in fresh processes differ on top of what
their rounds show, on a machine that does nothing else: benchmarks/results/bench_noise.json.
"""

MEMORY_BETWEEN_RUNS = 0.01
"""The same of peak memory."""

PER_BUSY_CORE = 0.02
"""What is added for each core that other work kept, which shares caches and memory with this one."""

PER_WANTED_CORE = 1.5
"""What is added for each core that other work took from the measured process. A call of 3 ms is then interrupted more
often than one of 1.5 ms: a ratio of 3.0 was seen as 8.4 where two thirds of a core were taken.
"""

NOISE_FACTOR = 3.0

RULE = (
    "a change counts when the 95 % intervals of before and now do not overlap, and the figure moved by more than "
    f"{NOISE_FACTOR:g} times the noise: what the rounds of both runs show, and what runs of an unchanged model differ "
    f"by besides: {100 * BETWEEN_RUNS:g} %, {100 * PER_BUSY_CORE:g} % for each core that other work kept busy, and "
    f"{100 * PER_WANTED_CORE:g} % for each that it took from the measurement; {100 * MEMORY_BETWEEN_RUNS:g} % for "
    f"memory. Latency and throughput are judged as ratios to {BASELINE} in the same run where it ran, throughput at "
    "the largest size that both reports have. Tails, streaming and start-up times are shown and not judged: a run has "
    "too few of them"
)

_WORTH_A_NOTE = 0.2
"""Cores kept by other work from which on a comparison says so."""


@dataclass(frozen=True, kw_only=True)
class Move:
    """One figure of one backend, before and now; `change` and `threshold` are relative, such as 0.5 for half more."""

    backend: str
    subject: str
    unit: str
    before: Estimate
    now: Estimate
    change: float
    threshold: float
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class BenchComparison:
    """Every figure that was judged, by the `rule`, and `notes` on what was not and why. True when nothing moved."""

    moves: tuple[Move, ...]
    notes: tuple[str, ...]
    rule: str = RULE

    def __bool__(self) -> bool:
        return not self.moved

    @property
    def moved(self) -> tuple[Move, ...]:
        """The moves that are a change."""
        return tuple(move for move in self.moves if move.verdict != "no change")


def refuse_incomparable(before: BenchReport, weights_sha256: str, sizes: Mapping[str, int], threads: int) -> None:
    """Refuse an earlier report before a long measurement that it could not be compared with.

    Raises:
        ReportError: it is of other weights, another shape or another number of threads.
    """
    earlier, latency = before.weights_sha256, before.latency
    facts = {
        "weights with sha256": (earlier[:12], weights_sha256[:12]),
        "shape": (_shape(latency.sizes), _shape(sizes)),
        "CPU threads": (str(latency.threads), str(threads)),
    }
    for name, (was, wanted) in facts.items():
        if was != wanted:
            raise ReportError(
                f"report of {before.model}",
                got=f"{name} {was}",
                expected=f"{name} {wanted}",
                remedy="compare with a report of the same model, sizes and threads",
            )


def compare_benches(before: BenchReport, now: BenchReport) -> BenchComparison:
    """Judge every figure that both reports have.

    Where the machine or a version differs, absolute figures are not judged, and the notes say what differs.
    """
    old, new = bench_figures(before), bench_figures(now)
    unlike = [f"differs: {text}" for text in differences(before.fingerprint, now.fingerprint)]
    same = before.model_sha256 == now.model_sha256
    return BenchComparison(
        moves=_moves(old, new, with_absolute=not unlike),
        notes=(
            *([] if same else ["the model's file is another one, of the same weights"]),
            *unlike,
            *(["absolute times and memory are not judged, for that may move them"] if unlike else []),
            *_busy("before", old),
            *_busy("now", new),
            *_missing(old, new, "was measured before and is not now"),
            *_missing(new, old, "is new"),
        ),
    )


def compare_latency(before: LatencyReport, now: LatencyReport, *, same_machine: bool) -> tuple[Move, ...]:
    """Judge the latency of every backend that both reports have, by the same rule."""
    return _moves(latency_figures(before), latency_figures(now), with_absolute=same_machine)


def _moves(old: Figures, new: Figures, *, with_absolute: bool) -> tuple[Move, ...]:
    shared = [key for key in old if key in new and (with_absolute or not old[key].absolute)]
    last = {(key[0], old[key].sweep): key for key in shared}  # of a curve's points, which ascend, the largest
    kept = [key for key in shared if not old[key].sweep or last[key[0], old[key].sweep] == key]
    return tuple(_move(*key, old[key], new[key]) for key in kept)


def _move(backend: str, subject: str, before: Figure, now: Figure) -> Move:
    old, new = before.estimate, now.estimate
    threshold = NOISE_FACTOR * math.hypot(*_deviations(before), *_deviations(now))
    apart = new.low > old.high or new.high < old.low
    moved = apart and abs(math.log(new.value / old.value)) > threshold
    return Move(
        backend=backend,
        subject=subject,
        unit=now.unit,
        before=old,
        now=new,
        change=new.value / old.value - 1,
        threshold=math.expm1(threshold),
        verdict=_verdict(now, rose=new.value > old.value) if moved else "no change",
    )


def _deviations(figure: Figure) -> tuple[float, float]:
    """Of the figure's logarithm: within its run, whose interval is 1.96 of them either way, and between runs."""
    within = math.log(figure.estimate.high / figure.estimate.low) / (2 * 1.96)
    work = figure.other_work
    if figure.unit == "MiB":
        return within, MEMORY_BETWEEN_RUNS
    return within, BETWEEN_RUNS + PER_BUSY_CORE * work.cores + PER_WANTED_CORE * work.wanted


def _verdict(figure: Figure, *, rose: bool) -> Verdict:
    if figure.unit == "MiB":
        return "more" if rose else "less"
    return "faster" if rose == (figure.better == "higher") else "slower"


def _busy(when: str, figures: Figures) -> list[str]:
    work = max((figure.other_work for figure in figures.values()), key=lambda work: work.cores, default=NO_WORK)
    if work.cores < _WORTH_A_NOTE:
        return []
    return [f"the machine was busy {when}, so that only a large change can be told: other work kept {work.text}"]


def _missing(figures: Figures, others: Figures, what: str) -> list[str]:
    """Figures that one report alone has; where a curve ends may differ from run to run."""
    return [
        f"{backend}: {subject} {what}"
        for (backend, subject), figure in figures.items()
        if (backend, subject) not in others and not figure.sweep
    ]


def _shape(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{dim}={size}" for dim, size in sorted(sizes.items()))
