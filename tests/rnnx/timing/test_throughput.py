from collections.abc import Callable, Mapping
from typing import Any

import pytest
from numpy.typing import NDArray
from tests.contracts import changed

from rnnx.timing import throughput
from rnnx.timing.figures import Estimate, ThroughputPoint
from rnnx.timing.throughput import is_saturated, measure_throughput
from rnnx.truths.model_cases import CaseSource
from rnnx_runtime import BackendError, Contract

Array = NDArray[Any]


class SizedCandidate:
    """Takes `time_ms(T, B)` for a call."""

    device = "fake"

    def __init__(self, clock: Any, name: str, time_ms: Callable[[int, int], float]) -> None:
        self.name, self._clock, self._time_ms = name, clock, time_ms

    def prepare(self, feeds: Mapping[str, Array]) -> Callable[[], object]:
        x = feeds["x"]
        time, batch = (1, len(x)) if x.ndim == 2 else x.shape[:2]
        if "lengths" in feeds:
            assert (feeds["lengths"] == time).all(), "a padded step is not computed"
        return lambda: self._clock.pass_ms(f"{self.name} T{time} B{batch}", self._time_ms(time, batch))

    def outputs(self, case: Any) -> dict[str, Array]:
        raise NotImplementedError

    def close(self) -> None: ...


def _measure(
    clock: Any,
    listening: Any,
    contract: Contract,
    *candidates: Any,
    covers: Any = lambda row, sizes: True,
    seconds: float = 0.05,
) -> tuple[dict[tuple[str, str], list[ThroughputPoint]], list[str]]:
    free = {"B": 1} | ({"T": 4} if contract.layer().form == "encoder" else {})
    points, notes = measure_throughput(
        candidates,
        CaseSource(contract=contract, example={}),
        free,
        seconds=seconds,
        covers=covers,
        listener=listening,
        clock=clock,
    )
    curves: dict[tuple[str, str], list[ThroughputPoint]] = {}
    for point in points:
        curves.setdefault((point.backend, point.sweep), []).append(point)
    return curves, notes


@pytest.mark.parametrize(
    ("rates", "saturated"),
    [
        ([1.0, 2.0, 4.0], False),
        ([1.0, 1.0], False),
        ([1.0, 1.0, 1.04], True),
        ([1.0, 0.8, 1.6], False),
        ([1.0, 2.0, 2.05, 2.2], False),
        ([1.0, 2.0, 2.05, 2.06], True),
    ],
    ids=["doubling", "two-points", "flat", "dip", "slow-gain", "knee"],
)
def test_saturation_takes_two_doublings_without_gain(rates: list[float], saturated: bool) -> None:
    assert is_saturated([Estimate(value=rate, low=rate, high=rate) for rate in rates]) is saturated


def test_a_disturbed_point_does_not_pass_for_saturation() -> None:
    disturbed = [Estimate(value=1.0, low=0.5, high=1.1)] * 3
    assert not is_saturated(disturbed)


def test_a_sweep_doubles_until_it_saturates(clock: Any, listening: Any, step_contract: Contract) -> None:
    # one ms up to B=8, in proportion to B from there on
    candidate = SizedCandidate(clock, "ort-cpu", lambda time, batch: max(1.0, batch / 8))
    curves, notes = _measure(clock, listening, step_contract, candidate)
    points = curves["ort-cpu", "B"]
    assert [point.batch for point in points] == [1, 2, 4, 8, 16, 32]
    assert [point.saturated for point in points] == [False, False, False, True, True, True]
    assert [point.steps_per_second.value for point in points] == pytest.approx([1000, 2000, 4000, 8000, 8000, 8000])
    assert {point.time for point in points} == {1}
    assert notes == []


def test_time_is_swept_with_the_batch_as_given(clock: Any, listening: Any, encoder_contract: Contract) -> None:
    candidate = SizedCandidate(clock, "ort-cpu", lambda time, batch: 1.0 + time * batch)
    curves, _ = _measure(clock, listening, encoder_contract, candidate)
    assert [(point.time, point.batch) for point in curves["ort-cpu", "B"]][:3] == [(4, 1), (4, 2), (4, 4)]
    assert [(point.time, point.batch) for point in curves["ort-cpu", "T"]][:3] == [(1, 1), (2, 1), (4, 1)]
    last = curves["ort-cpu", "T"][-1]
    assert last.steps_per_second.value == pytest.approx(1000, rel=0.06)


def test_a_sweep_that_never_saturates_ends_at_its_bound(
    clock: Any, listening: Any, step_contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(throughput.LARGEST, "B", 64)
    curves, _ = _measure(clock, listening, step_contract, SizedCandidate(clock, "ort-cpu", lambda time, batch: 1.0))
    points = curves["ort-cpu", "B"]
    assert [point.batch for point in points] == [1, 2, 4, 8, 16, 32, 64]
    assert not any(point.saturated for point in points)


def test_a_call_that_takes_too_long_ends_the_sweep_with_a_note(
    clock: Any, listening: Any, step_contract: Contract
) -> None:
    candidate = SizedCandidate(clock, "ort-cpu", lambda time, batch: 400.0 + 200.0 * batch)
    curves, notes = _measure(clock, listening, step_contract, candidate, seconds=0.5)
    assert curves["ort-cpu", "B"][-1].batch == 4
    assert notes == ["ort-cpu: throughput against B ended at B=4: one call takes 1.2 s"]


def test_a_sweep_that_takes_many_times_its_seconds_ends_with_a_note(
    clock: Any, listening: Any, step_contract: Contract
) -> None:
    candidate = SizedCandidate(clock, "ort-cpu", lambda time, batch: 100.0)
    curves, notes = _measure(clock, listening, step_contract, candidate, seconds=0.001)
    assert curves["ort-cpu", "B"][-1].batch == 2
    assert notes == ["ort-cpu: throughput against B ended at B=2: it has taken 1.8 s"]


def test_backends_take_turns_at_each_point_and_one_may_go_further(
    clock: Any, listening: Any, step_contract: Contract
) -> None:
    flat = SizedCandidate(clock, "flat", lambda time, batch: float(batch))
    rising = SizedCandidate(clock, "rising", lambda time, batch: max(1.0, batch / 16))
    curves, _ = _measure(clock, listening, step_contract, flat, rising)
    assert [point.batch for point in curves["flat", "B"]] == [1, 2, 4]
    assert [point.batch for point in curves["rising", "B"]] == [1, 2, 4, 8, 16, 32, 64]
    at_2 = [name for name in clock.log if name.endswith("B2")]
    assert at_2.index("rising T1 B2") < len(at_2) - 1 - at_2[::-1].index("flat T1 B2")


def test_a_profile_that_covers_no_more_ends_the_sweep_with_a_note(
    clock: Any, listening: Any, step_contract: Contract
) -> None:
    curves, notes = _measure(
        clock,
        listening,
        step_contract,
        SizedCandidate(clock, "tensorrt", lambda time, batch: 1.0),
        covers=lambda row, sizes: sizes["B"] <= 4,
    )
    assert [point.batch for point in curves["tensorrt", "B"]] == [1, 2, 4]
    assert notes == ["tensorrt: throughput against B ended before B=8: no profile covers it"]


def _at_least_4(time: int, batch: int) -> float:
    if batch < 4:
        raise BackendError("run", got="too few", expected="4", remedy="more")
    return 1.0


def test_a_sweep_begins_with_the_first_size_that_is_taken(clock: Any, listening: Any, step_contract: Contract) -> None:
    curves, notes = _measure(clock, listening, step_contract, SizedCandidate(clock, "ort-cpu", _at_least_4))
    assert curves["ort-cpu", "B"][0].batch == 4
    assert not [note for note in notes if "too few" in note]


def test_a_backend_that_takes_no_size_says_why(clock: Any, listening: Any, step_contract: Contract) -> None:
    def failing(time: int, batch: int) -> float:
        raise BackendError("run", got=f"batch {batch}", expected="none", remedy="rest")

    curves, (note,) = _measure(clock, listening, step_contract, SizedCandidate(clock, "ort-cpu", failing))
    assert not curves
    assert note.startswith("ort-cpu: throughput against B ended before B=1: run: got batch 1")


def test_a_backend_that_fails_ends_its_own_sweep_alone(clock: Any, listening: Any, step_contract: Contract) -> None:
    def failing(time: int, batch: int) -> float:
        if batch == 4:
            raise BackendError("run", got="no memory", expected="some", remedy="less")
        return 1.0

    sound = SizedCandidate(clock, "sound", lambda time, batch: 1.0)
    curves, notes = _measure(clock, listening, step_contract, SizedCandidate(clock, "failing", failing), sound)
    assert [point.batch for point in curves["failing", "B"]] == [1, 2]
    assert len(curves["sound", "B"]) > 3
    assert notes[0].startswith("failing: throughput against B ended before B=4: run: got no memory")


def test_a_decoder_of_n_steps_counts_all_of_them(clock: Any, listening: Any, step_contract: Contract) -> None:
    unrolled = changed(step_contract, form="unrolled", steps=6)
    (points,) = _measure(
        clock, listening, unrolled, SizedCandidate(clock, "ort-cpu", lambda time, batch: float(batch))
    )[0].values()
    assert points[0].time == 6
    assert points[0].steps_per_second.value == 6000


def test_points_are_told_to_the_listener(clock: Any, listening: Any, step_contract: Contract) -> None:
    _measure(clock, listening, step_contract, SizedCandidate(clock, "ort-cpu", lambda time, batch: float(batch)))
    assert listening.told[0] == "throughput against B 11"
    assert listening.told[-1] == "end"
