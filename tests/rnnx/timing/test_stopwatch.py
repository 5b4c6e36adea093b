import gc

import pytest

from rnnx.timing.stopwatch import host_timed, undisturbed


def test_a_calls_time_is_the_clocks_difference_in_ms() -> None:
    ticks = iter([1_000_000, 4_500_000])
    called: list[int] = []
    assert host_timed(lambda: called.append(1), lambda: next(ticks))() == 3.5
    assert called == [1]


def test_garbage_collection_is_back_on_after_a_failure() -> None:
    def failing() -> None:
        with undisturbed():
            assert not gc.isenabled()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    assert gc.isenabled()


def test_garbage_collection_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with undisturbed():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
