from typing import Any

import numpy as np
import pytest
from tests.contracts import changed

from rnnx.timing.figures import JitterRow
from rnnx.timing.jitter import measure_jitter, why_no_stream
from rnnx.truths.model_cases import CaseSource
from rnnx_runtime import Contract

WARM_UP = 100


def _measure(clock: Any, listening: Any, contract: Contract, *candidates: Any, steps: int = 1000) -> list[JitterRow]:
    return measure_jitter(
        candidates,
        CaseSource(contract=contract, example={}),
        frame_ms=10.0,
        steps=steps,
        listener=listening,
        clock=clock,
    )


def test_a_stall_is_counted_and_found(clock: Any, listening: Any, step_contract: Contract) -> None:
    # 345 is in the fourth block of 100, and each block has its warm-up before it
    times = [1.0] * (4 * WARM_UP + 345) + [25.0] + [1.0]
    (row,) = _measure(clock, listening, step_contract, clock.candidate("ort-cpu", *times))
    assert (row.misses, row.longest_ms, row.longest_at_step) == (1, 25.0, 345)
    assert (row.steps, row.frame_ms, row.p50_ms) == (1000, 10.0, 1.0)


def test_a_stream_of_slow_steps_has_as_many_as_its_seconds_allow(
    clock: Any, listening: Any, step_contract: Contract
) -> None:
    (row,) = measure_jitter(
        [clock.candidate("ort-cpu", 50.0)],
        CaseSource(contract=step_contract, example={}),
        frame_ms=10.0,
        steps=1000,
        seconds=2.0,
        listener=listening,
        clock=clock,
    )
    assert (row.steps, row.misses) == (50, 50)  # of each of ten blocks, five of 200 ms: the fifth passes the share


def test_a_step_of_exactly_one_frame_meets_its_deadline(clock: Any, listening: Any, step_contract: Contract) -> None:
    (row,) = _measure(clock, listening, step_contract, clock.candidate("ort-cpu", 10.0))
    assert row.misses == 0


def test_rare_stalls_show_in_the_last_permille(clock: Any, listening: Any, step_contract: Contract) -> None:
    (row,) = _measure(clock, listening, step_contract, clock.cycle("ort-cpu", *[1.0] * 249, 5.0))
    assert (row.p50_ms, row.p99_ms) == (1.0, 1.0)
    assert row.p999_ms == 5.0


def test_stalls_in_a_warm_up_do_not_count(clock: Any, listening: Any, step_contract: Contract) -> None:
    (row,) = _measure(clock, listening, step_contract, clock.candidate("ort-cpu", *[50.0] * WARM_UP, 1.0))
    assert (row.misses, row.longest_ms) == (0, 1.0)


def test_the_state_is_carried_from_step_to_step(clock: Any, listening: Any, step_contract: Contract) -> None:
    candidate = clock.candidate("ort-cpu", 1.0)
    _measure(clock, listening, step_contract, candidate, steps=10)
    first, second, third = candidate.seen[:3]
    np.testing.assert_array_equal(third["h0"], second["h0"] + 1)
    np.testing.assert_array_equal(second["c0"], first["c0"] + 2)
    np.testing.assert_array_equal(second["x"], first["x"])
    assert first["x"].shape == (1, step_contract.input_size)


def test_a_candidate_with_its_own_stream_is_stepped_by_it(clock: Any, listening: Any, step_contract: Contract) -> None:
    candidate = clock.candidate("ort-cpu", 1.0)
    candidate.prepare_stream = lambda feeds: lambda: clock.pass_ms("own stream", 3.0)
    (row,) = _measure(clock, listening, step_contract, candidate)
    assert row.p50_ms == 3.0
    assert candidate.seen == []


def test_backends_take_turns_block_by_block(clock: Any, listening: Any, step_contract: Contract) -> None:
    _measure(clock, listening, step_contract, clock.candidate("a", 1.0), clock.candidate("b", 1.0), steps=100)
    turns = "".join(name for name, before in zip(clock.log, [None, *clock.log], strict=False) if name != before)
    assert turns == "ab" * 10
    assert listening.told == ["streaming 10", *["."] * 10, "end"]
    assert clock.gc_seen == {False}


@pytest.mark.parametrize("steps", [7, 25, 1003])
def test_steps_that_blocks_do_not_divide_are_all_made(
    clock: Any, listening: Any, step_contract: Contract, steps: int
) -> None:
    (row,) = _measure(clock, listening, step_contract, clock.candidate("ort-cpu", 1.0), steps=steps)
    assert row.steps == steps


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"form": "encoder", "directions": 2}, "a bidirectional encoder cannot stream"),
        ({"form": "unrolled", "steps": 3}, "3 unrolled steps cannot stream"),
        ({"form": "encoder", "directions": 1, "state_inputs": False}, "without state inputs cannot stream"),
        ({"form": "encoder", "directions": 1}, ""),
        ({"form": "step"}, ""),
        ({"form": "unrolled", "steps": 1}, ""),
    ],
    ids=["bidirectional", "unrolled-3", "no-state", "encoder", "step", "unrolled-1"],
)
def test_what_cannot_stream_says_why(step_contract: Contract, changes: dict[str, Any], reason: str) -> None:
    said = why_no_stream(changed(step_contract, **changes))
    assert reason in said
    assert bool(said) == bool(reason)
