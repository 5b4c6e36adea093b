import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rnnx.errors import ReportError
from rnnx.timing.comparison import (
    BETWEEN_RUNS,
    NOISE_FACTOR,
    BenchComparison,
    Move,
    compare_benches,
    compare_latency,
    refuse_incomparable,
)
from rnnx.timing.figures import BenchReport, LatencyReport, LatencyRow
from rnnx.timing.fingerprint import Fingerprint
from rnnx.timing.latency import measure_latency
from rnnx.timing.other_work import OtherWork

Report = Callable[..., BenchReport]

RATIO = "p50 latency, × pytorch-cpu"
RATE = "steps/s at B=4, T=50, × pytorch-cpu"

FLOOR = math.expm1(NOISE_FACTOR * math.sqrt(2) * BETWEEN_RUNS)
"""The smallest move that counts, with figures that have no spread of their own."""


def _moves(comparison: BenchComparison) -> dict[str, Move]:
    return {move.subject: move for move in comparison.moves}


def _verdicts(comparison: BenchComparison) -> dict[str, str]:
    return {move.subject: move.verdict for move in comparison.moves}


def test_the_same_report_has_no_change(report: Report) -> None:
    comparison = compare_benches(report(), report())
    assert comparison
    assert comparison.moved == ()
    assert set(_verdicts(comparison)) == {RATIO, RATE, "peak memory at start-up"}


@pytest.mark.parametrize(
    ("changes", "subject", "verdict"),
    [
        ({"p50_ms": 3.0, "ratio": 2.0 / 1.5}, RATIO, "slower"),
        ({"p50_ms": 1.0, "ratio": 4.0}, RATIO, "faster"),
        ({"rate": 600.0}, RATE, "slower"),
        ({"rate": 1500.0}, RATE, "faster"),
        ({"peak_mib": 75.0}, "peak memory at start-up", "more"),
        ({"peak_mib": 65.0}, "peak memory at start-up", "less"),
    ],
    ids=["slower", "faster", "less-throughput", "more-throughput", "more-memory", "less-memory"],
)
def test_a_real_change_is_named_and_nothing_else(
    report: Report, changes: dict[str, Any], subject: str, verdict: str
) -> None:
    comparison = compare_benches(report(), report(**changes))
    assert not comparison
    assert [(move.backend, move.subject, move.verdict) for move in comparison.moved] == [("ort-cpu", subject, verdict)]


def test_a_machine_that_slows_both_alike_is_no_change(report: Report) -> None:
    assert compare_benches(report(p50_ms=2.0), report(p50_ms=4.0))


def test_a_small_move_is_no_change_however_narrow_the_intervals(report: Report) -> None:
    just_below = compare_benches(report(width=1e-4), report(width=1e-4, ratio=2.0 * (1 + FLOOR - 0.01)))
    just_above = compare_benches(report(width=1e-4), report(width=1e-4, ratio=2.0 * (1 + FLOOR + 0.01)))
    assert (_verdicts(just_below)[RATIO], _verdicts(just_above)[RATIO]) == ("no change", "faster")
    assert _moves(just_below)[RATIO].threshold == pytest.approx(FLOOR, rel=1e-3)
    assert 0.2 < FLOOR < 0.33, "half again as slow is found, a fifth is not"


def test_a_large_move_within_the_noise_is_no_change(report: Report) -> None:
    comparison = compare_benches(report(width=0.2), report(width=0.2, ratio=2.5))
    move = _moves(comparison)[RATIO]
    assert move.now.low > move.before.high, "the intervals alone would have called it a change"
    assert move.verdict == "no change"
    assert move.threshold > move.change == pytest.approx(0.25)


def test_the_noise_of_either_run_counts(report: Report) -> None:
    noisy = {"width": 0.25}
    assert compare_benches(report(**noisy), report(ratio=2.7))
    assert compare_benches(report(), report(**noisy, ratio=2.7))
    assert not compare_benches(report(), report(ratio=2.7))


def test_intervals_that_overlap_are_no_change(report: Report) -> None:
    comparison = compare_benches(report(ratio=2.0, width=0.01), report(ratio=2.3, width=0.35))
    move = _moves(comparison)[RATIO]
    assert move.now.low < move.before.high
    assert move.verdict == "no change"


def test_without_pytorch_absolute_times_are_judged(report: Report) -> None:
    comparison = compare_benches(report(ratio=None), report(ratio=None, p50_ms=3.0))
    assert _verdicts(comparison)["p50 latency"] == "slower"
    assert _verdicts(comparison)["steps/s at B=8, T=50"] == "no change"


def test_device_resident_times_are_judged_too(report: Report) -> None:
    comparison = compare_benches(report(device_p50_ms=0.5), report(device_p50_ms=1.0))
    assert _verdicts(comparison)["device-resident p50"] == "slower"


@pytest.mark.parametrize(
    ("changed", "note"),
    [
        ({"machine": {"processor": "another", "cores": "2"}}, "differs: processor: was some, is another"),
        ({"versions": {"rnnx": "0.2.0"}}, "differs: rnnx: was 0.1.0, is 0.2.0"),
    ],
    ids=["machine", "version"],
)
def test_on_another_machine_absolute_figures_are_not_judged(
    report: Report, changed: dict[str, dict[str, str]], note: str
) -> None:
    before = report(ratio=None)
    other = replace(before.fingerprint, **changed)
    comparison = compare_benches(before, report(ratio=None, p50_ms=9.0, fingerprint=other))
    assert comparison.moves == ()
    assert note in comparison.notes
    assert "absolute times and memory are not judged, for that may move them" in comparison.notes


@pytest.mark.parametrize("which", ["before", "now"])
@pytest.mark.parametrize(
    ("work", "halved", "to_a_tenth"),
    [
        (OtherWork(cores=1.0, wanted=0.0), "slower", "slower"),
        (OtherWork(cores=1.2, wanted=0.2), "no change", "slower"),
        (OtherWork(cores=1.6, wanted=0.6), "no change", "no change"),
    ],
    ids=["beside", "shared", "crowded"],
)
def test_on_a_busy_machine_only_a_large_change_can_be_told(
    report: Report, which: str, work: OtherWork, halved: str, to_a_tenth: str
) -> None:
    changes: dict[str, dict[str, Any]] = {"before": {}, "now": {}} | {which: {"other_work": work}}
    found = [compare_benches(report(**changes["before"]), report(ratio=r, **changes["now"])) for r in (1.0, 0.2)]
    assert [_verdicts(comparison)[RATIO] for comparison in found] == [halved, to_a_tenth]
    note = f"the machine was busy {which}, so that only a large change can be told: other work kept {work.text}"
    assert note in found[0].notes


def test_a_tenth_of_a_core_is_not_worth_a_note(report: Report) -> None:
    assert compare_benches(report(), report(other_work=OtherWork(cores=0.1, wanted=0.0))).notes == ()


def test_the_throughputs_own_other_work_counts_for_it(report: Report) -> None:
    crowded = OtherWork(cores=1.6, wanted=0.6).text
    assert _verdicts(compare_benches(report(), report(rate=500.0)))[RATE] == "slower"
    assert _verdicts(compare_benches(report(), replace(report(rate=500.0), other_work=crowded)))[RATE] == "no change"


def test_ratios_are_judged_across_versions(report: Report) -> None:
    other = Fingerprint(machine=report().fingerprint.machine, versions={"rnnx": "0.2.0"})
    comparison = compare_benches(report(), report(ratio=1.0, fingerprint=other))
    assert _verdicts(comparison)[RATIO] == "slower"
    assert "peak memory at start-up" not in _verdicts(comparison)


def test_a_backend_that_is_gone_is_a_note(report: Report) -> None:
    now = report()
    now = replace(now, latency=replace(now.latency, rows=now.latency.rows[:1]))
    assert f"ort-cpu: {RATIO} was measured before and is not now" in compare_benches(report(), now).notes


def test_throughput_is_judged_at_the_largest_size_that_both_have(report: Report) -> None:
    now = report(ratio=None)
    shorter = replace(now, throughput=now.throughput[:2])
    (move,) = [m for m in compare_benches(report(ratio=None), shorter).moves if m.subject.startswith("steps/s")]
    assert move.subject == "steps/s at B=2, T=50"
    assert compare_benches(report(ratio=None), shorter).notes == ()


def test_another_export_of_the_same_weights_is_compared_with_a_note(report: Report) -> None:
    comparison = compare_benches(report(), report(model_sha256="ef" * 32))
    assert comparison
    assert "the model's file is another one, of the same weights" in comparison.notes


@pytest.mark.parametrize(
    ("given", "got"),
    [
        ({"weights_sha256": "ff" * 32}, "got weights with sha256 abababababab, expected weights with sha256 ffff"),
        ({"sizes": {"T": 20, "B": 1}}, "got shape B=1, T=50, expected shape B=1, T=20"),
        ({"threads": 2}, "got CPU threads 1, expected CPU threads 2"),
    ],
    ids=["weights", "shape", "threads"],
)
def test_what_cannot_be_compared_is_refused(report: Report, given: dict[str, Any], got: str) -> None:
    matching: dict[str, Any] = {"weights_sha256": "ab" * 32, "sizes": {"B": 1, "T": 50}, "threads": 1}
    refuse_incomparable(report(), **matching)
    with pytest.raises(ReportError, match=got):
        refuse_incomparable(report(), **matching | given)


def test_the_rule_is_said_with_its_numbers(report: Report) -> None:
    rule = compare_benches(report(), report()).rule
    assert "besides: 6 %, 2 % for each core that other work kept busy, and 150 % for each that it took" in rule
    assert "3 times the noise" in rule


def _measured(clock: Any, seed: int, ort_ms: float, *, noise: float) -> LatencyReport:
    """A run on a machine of its own speed that drifts, and whose calls and rounds scatter by `noise`."""
    chance = np.random.default_rng(seed)
    speed = chance.uniform(0.7, 1.4)
    # what differs between processes, on top of the machine's speed: a deviation of 1.5 %
    pytorch_ms, ort_ms = (speed * ms * chance.normal(1, 0.015) for ms in (6.0, ort_ms))

    def times(ms: float) -> Iterator[float]:
        while True:
            round_ = chance.normal(1, noise)
            yield from (max(0.1, ms * round_ * chance.normal(1, noise)) for _ in range(20))

    pytorch, ort = clock.candidate("pytorch-cpu", 1.0), clock.candidate("ort-cpu", 1.0)
    pytorch._times, ort._times = times(pytorch_ms), times(ort_ms)
    rows: list[LatencyRow] = measure_latency([pytorch, ort], {}, steps=50, seconds=0.3, clock=clock)
    alone = tuple(replace(row, conditions={}) for row in rows)  # whatever the host of the test does meanwhile
    return LatencyReport(sizes={"T": 50, "B": 1}, threads=1, rows=alone)


@pytest.mark.parametrize("noise", [0.005, 0.05], ids=["quiet", "noisy"])
def test_runs_of_an_unchanged_model_have_no_change_and_half_again_slower_ones_do(clock: Any, noise: float) -> None:
    runs = [_measured(clock, seed, 2.0, noise=noise) for seed in range(6)]
    slower = [_measured(clock, 100 + seed, 3.0, noise=noise) for seed in range(6)]
    for i, before in enumerate(runs):
        for now in runs[:i]:
            assert [move.verdict for move in compare_latency(before, now, same_machine=True)] == ["no change"]
        for now in slower:
            assert [move.verdict for move in compare_latency(before, now, same_machine=True)] == ["slower"]
