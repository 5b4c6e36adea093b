from typing import Any

from rnnx.timing.residency import resident_measure


def test_a_candidate_of_host_memory_has_no_resident_call(clock: Any) -> None:
    assert resident_measure(clock.candidate("ort-cpu", 1.0), {}) is None


def test_a_candidate_on_a_device_tells_its_own_time(clock: Any) -> None:
    measure = resident_measure(clock.on_gpu("tensorrt", 2.0, 0.5), {})
    assert measure is not None
    assert measure() == 0.5
