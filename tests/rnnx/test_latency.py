import gc
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from numpy.typing import NDArray

from rnnx import latency
from rnnx.cases import Case
from rnnx.latency import ROUNDS, LatencyRow, measure_latency

Array = NDArray[Any]


class Clock:
    """A clock that only the fakes move, so that no figure depends on the host."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.log: list[str] = []
        self.gc_seen: set[bool] = set()


class FakeCandidate:
    """Takes each of `times_ms` in turn, then the last again and again."""

    device = "fake"

    def __init__(self, clock: Clock, name: str, *times_ms: float) -> None:
        self.name = name
        self._clock = clock
        self._times = self._endless(times_ms)

    def prepare(self, feeds: Mapping[str, Array]) -> Callable[[], object]:
        return self._call

    def outputs(self, case: Case) -> dict[str, Array]:
        raise NotImplementedError

    def close(self) -> None: ...

    def _call(self) -> None:
        self._clock.now_ns += round(next(self._times) * 1e6)
        self._clock.log.append(self.name)
        self._clock.gc_seen.add(gc.isenabled())

    @staticmethod
    def _endless(times_ms: tuple[float, ...]) -> Iterator[float]:
        yield from times_ms
        while True:
            yield times_ms[-1]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(latency, "perf_counter_ns", lambda: clock.now_ns)
    return clock


def _measure(*candidates: FakeCandidate, steps: int = 50) -> dict[str, LatencyRow]:
    rows = measure_latency(candidates, {}, steps=steps, seconds=1.0)
    return {row.backend: row for row in rows}


def test_first_call_stands_apart_from_the_rest(clock: Clock) -> None:
    row = _measure(FakeCandidate(clock, "ort-cpu", 80.0, 2.0))["ort-cpu"]
    assert (row.first_call_ms, row.p50_ms, row.p90_ms, row.p99_ms) == (80.0, 2.0, 2.0, 2.0)


def test_the_time_given_decides_how_many_calls(clock: Clock) -> None:
    rows = _measure(FakeCandidate(clock, "ort-cpu", 10.0), FakeCandidate(clock, "ort-cuda", 500.0))
    assert rows["ort-cpu"].calls == 100
    assert rows["ort-cuda"].calls == ROUNDS


def test_throughput_counts_every_step_of_every_row(clock: Clock) -> None:
    assert _measure(FakeCandidate(clock, "ort-cpu", 10.0), steps=50)["ort-cpu"].steps_per_second == 5000


def test_speedup_is_over_pytorch_on_cpu(clock: Clock) -> None:
    rows = _measure(FakeCandidate(clock, "pytorch-cpu", 6.0), FakeCandidate(clock, "ort-cpu", 2.0))
    assert rows["pytorch-cpu"].speedup == 1.0
    assert rows["ort-cpu"].speedup == pytest.approx(3.0)


def test_speedup_is_unknown_without_pytorch(clock: Clock) -> None:
    assert _measure(FakeCandidate(clock, "ort-cpu", 2.0))["ort-cpu"].speedup is None


def test_a_disturbed_round_does_not_move_the_speedup(clock: Clock) -> None:
    disturbed = (2.0,) * 60 + (50.0,) * 20 + (2.0,)
    rows = _measure(FakeCandidate(clock, "pytorch-cpu", 6.0), FakeCandidate(clock, "ort-cpu", *disturbed))
    assert rows["ort-cpu"].speedup == pytest.approx(3.0)
    assert rows["ort-cpu"].p99_ms == 50.0


def test_backends_take_turns_and_each_round_starts_with_another(clock: Clock) -> None:
    _measure(FakeCandidate(clock, "a", 100.0), FakeCandidate(clock, "b", 100.0))
    measured = clock.log[-4 * ROUNDS :]
    assert measured[:8] == ["a", "a", "b", "b", "b", "b", "a", "a"]


def test_garbage_collection_is_off_while_timing_and_back_on_after(clock: Clock) -> None:
    assert gc.isenabled()
    _measure(FakeCandidate(clock, "ort-cpu", 10.0))
    assert clock.gc_seen == {False}
    assert gc.isenabled()
