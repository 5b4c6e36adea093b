import gc
from typing import Any

import pytest

from rnnx.timing.figures import Estimate, LatencyRow
from rnnx.timing.latency import FEWEST_ROUNDS, MOST_ROUNDS, measure_latency


def _measure(clock: Any, *candidates: Any, steps: int = 50, seconds: float = 1.0, **more: Any) -> dict[str, LatencyRow]:
    rows = measure_latency(candidates, {}, steps=steps, seconds=seconds, clock=clock, **more)
    return {row.backend: row for row in rows}


def test_a_steady_backend_has_the_same_figure_everywhere(clock: Any) -> None:
    row = _measure(clock, clock.candidate("ort-cpu", 2.0))["ort-cpu"]
    same = Estimate(value=2.0, low=2.0, high=2.0)
    assert (row.p50_ms, row.p90_ms, row.p99_ms, row.max_ms) == (same, same, same, 2.0)
    assert row.quantiles_ms == (2.0,) * 101


def test_the_warm_up_counts_for_nothing(clock: Any) -> None:
    row = _measure(clock, clock.candidate("ort-cpu", 80.0, 40.0, 20.0, 10.0, 2.0))["ort-cpu"]
    assert row.max_ms == 2.0
    assert row.stable
    assert row.warm_up_calls == 4 + 4 * 5


def test_a_backend_that_never_settles_is_timed_and_said_to_be_unstable(clock: Any) -> None:
    row = _measure(clock, clock.cycle("ort-cpu", 20.0, 30.0))["ort-cpu"]
    assert not row.stable
    assert row.calls >= FEWEST_ROUNDS


def test_the_time_given_decides_how_many_calls(clock: Any) -> None:
    rows = _measure(clock, clock.candidate("ort-cpu", 10.0), clock.candidate("pytorch-cpu", 50.0))
    assert (rows["ort-cpu"].rounds, rows["ort-cpu"].calls) == (MOST_ROUNDS, 100)
    assert (rows["pytorch-cpu"].rounds, rows["pytorch-cpu"].calls) == (MOST_ROUNDS, MOST_ROUNDS)


def test_slow_calls_get_fewer_rounds_but_never_one_alone(clock: Any) -> None:
    rows = _measure(clock, clock.candidate("ort-cpu", 500.0))
    assert (rows["ort-cpu"].rounds, rows["ort-cpu"].calls) == (FEWEST_ROUNDS, FEWEST_ROUNDS)


def test_percentiles_are_those_of_all_calls(clock: Any) -> None:
    row = _measure(clock, clock.cycle("ort-cpu", *[1.0] * 9, 3.0), seconds=4.0)["ort-cpu"]
    assert (row.p50_ms.value, row.max_ms) == (1.0, 3.0)
    assert row.p99_ms.value == 3.0
    assert row.quantiles_ms[50] == 1.0
    assert row.quantiles_ms[95] == 3.0


def test_an_interval_is_as_wide_as_rounds_differ(clock: Any) -> None:
    steady = _measure(clock, clock.cycle("ort-cpu", 2.0, 2.0, 2.0, 2.1))["ort-cpu"].p50_ms
    blocks = [2.0] * 200 + [3.0] * 200
    drifting = _measure(clock, clock.cycle("ort-cpu", *blocks))["ort-cpu"].p50_ms
    assert steady.high - steady.low < 0.1
    assert drifting.high - drifting.low > 0.5


def test_throughput_counts_every_step_of_every_row(clock: Any) -> None:
    assert _measure(clock, clock.candidate("ort-cpu", 10.0), steps=50)["ort-cpu"].steps_per_second == 5000


def test_the_ratio_is_over_pytorch_on_cpu(clock: Any) -> None:
    rows = _measure(clock, clock.candidate("pytorch-cpu", 6.0), clock.candidate("ort-cpu", 2.0))
    assert rows["pytorch-cpu"].ratio == Estimate(value=1.0, low=1.0, high=1.0)
    assert rows["ort-cpu"].ratio == Estimate(value=3.0, low=3.0, high=3.0)


def test_there_is_no_ratio_without_pytorch(clock: Any) -> None:
    assert _measure(clock, clock.candidate("ort-cpu", 2.0))["ort-cpu"].ratio is None


def test_a_disturbed_round_does_not_move_the_ratio(clock: Any) -> None:
    disturbed = (2.0,) * 60 + (50.0,) * 20 + (2.0,)
    rows = _measure(clock, clock.candidate("pytorch-cpu", 6.0), clock.candidate("ort-cpu", *disturbed))
    assert rows["ort-cpu"].ratio is not None
    assert rows["ort-cpu"].ratio.value == pytest.approx(3.0)
    assert rows["ort-cpu"].max_ms == 50.0


def test_a_drift_of_the_machine_leaves_the_ratio_alone(clock: Any) -> None:
    slow = [1 + i / 400 for i in range(400)]
    pytorch = clock.candidate("pytorch-cpu", *[5.0] * 8, *(5 * s for s in slow))
    ort = clock.candidate("ort-cpu", *[5.0] * 8, *(2.5 * s for s in slow))
    ratio = _measure(clock, pytorch, ort, seconds=1.0)["ort-cpu"].ratio
    assert ratio is not None
    assert 1.7 < ratio.low <= ratio.high < 2.3


def test_backends_take_turns_and_each_round_starts_with_another(clock: Any) -> None:
    _measure(clock, clock.candidate("a", 100.0), clock.candidate("b", 100.0))
    rounds = 10  # of one call each, and one untimed call before it
    measured = clock.log[-4 * rounds :]
    assert measured[:8] == ["a", "a", "b", "b", "b", "b", "a", "a"]


def test_garbage_collection_is_off_while_timing_and_back_on_after(clock: Any) -> None:
    assert gc.isenabled()
    _measure(clock, clock.candidate("ort-cpu", 10.0))
    assert clock.gc_seen == {False}
    assert gc.isenabled()


def test_device_resident_calls_are_a_figure_of_their_own(clock: Any) -> None:
    rows = _measure(clock, clock.on_gpu("tensorrt", 2.0, 0.5), clock.candidate("ort-cpu", 4.0))
    assert rows["tensorrt"].p50_ms.value == 2.0
    assert rows["tensorrt"].device_p50_ms == Estimate(value=0.5, low=0.5, high=0.5)
    assert rows["ort-cpu"].device_p50_ms is None


def test_each_row_states_its_conditions(clock: Any) -> None:
    rows = _measure(clock, clock.candidate("ort-cpu", 2.0), conditions={"ort-cpu": {"threads": "2"}})
    assert rows["ort-cpu"].conditions["threads"] == "2"
    assert set(rows["ort-cpu"].conditions) == {"threads", "other work"}


def test_a_listener_is_told_of_every_round(clock: Any, listening: Any) -> None:
    _measure(clock, clock.candidate("ort-cpu", 10.0), listener=listening)
    assert listening.told == ["warm-up 1", ".", "end", f"latency {MOST_ROUNDS}", *["."] * MOST_ROUNDS, "end"]


def test_nothing_to_time_is_no_rows(clock: Any) -> None:
    assert _measure(clock) == {}
