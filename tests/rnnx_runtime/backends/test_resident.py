"""Runs over inputs that stay on the device, on a TensorRT library and a CUDA runtime in NumPy."""

from typing import Any

import numpy as np
import pytest

from rnnx_runtime import BackendError, InputError, SessionClosedError, State


def _inputs(time: int = 4, batch: int = 2) -> tuple[Any, State]:
    chance = np.random.default_rng(0)
    x = chance.standard_normal((time, batch, 3), np.float32)
    return x, State(*chance.uniform(-1, 1, (2, 1, batch, 4)).astype(np.float32))


def test_a_resident_run_says_the_devices_time_for_the_execution_alone(bench: Any) -> None:
    with bench.load() as session:
        run = session.resident(*_inputs())
        bench.cudart.calls.clear()
        assert [run(), run()] == [1.0, 1.0]
    assert "cudaMemcpyAsync" not in bench.cudart.calls


def test_a_resident_run_computes_what_a_run_does(bench: Any) -> None:
    x, state = _inputs()
    with bench.load() as session:
        expected, last = session.run(x, state)
        session.resident(x, state)()
        engine = bench.engine
        for name, value in {"output": expected, "hn": last.h, "cn": last.c}.items():
            memory = bench.cudart.device[engine.addresses[name]]
            np.testing.assert_array_equal(memory[: value.nbytes].view(np.float32).reshape(value.shape), value)


def test_runs_between_do_not_disturb_it(bench: Any) -> None:
    x, state = _inputs()
    with bench.load() as session:
        run = session.resident(x, state)
        session.run(x, state)
        assert run() == 1.0
        bench.check(session, 4, 2)


def test_everything_is_given_back(bench: Any) -> None:
    session = bench.load()
    session.resident(*_inputs())()
    session.close()
    assert bench.cudart.is_empty


def test_an_execution_that_is_refused_is_an_error(bench: Any) -> None:
    with bench.load() as session:
        run = session.resident(*_inputs())
        bench.engine.refused.add("execute_async_v3")
        with pytest.raises(BackendError, match="execute_async_v3: no, because"):
            run()
        bench.engine.refused.clear()


def test_arguments_are_checked_as_a_runs(bench: Any) -> None:
    with bench.load() as session, pytest.raises(InputError, match="input 'x'"):
        session.resident(np.zeros((4, 2, 9), np.float32))


def test_a_closed_session_has_no_resident_run(bench: Any) -> None:
    session = bench.load()
    session.close()
    with pytest.raises(SessionClosedError):
        session.resident(*_inputs())
