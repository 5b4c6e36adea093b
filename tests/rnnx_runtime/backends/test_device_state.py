"""States that stay on the device: what they hold, where they lie, what is copied; on stand-ins in NumPy."""

import threading
import time
from typing import Any

import numpy as np
import pytest
from tests.contracts import changed

from rnnx.truths.reference import evaluate
from rnnx_runtime import State
from rnnx_runtime.cuda.memory import DeviceArray

FORMS = [
    pytest.param({}, id="lstm"),
    pytest.param({"cell": "gru"}, id="gru"),
    pytest.param({"form": "step"}, id="lstm-step"),
    pytest.param({"form": "step", "cell": "gru"}, id="gru-step"),
    pytest.param({"batch_first": True}, id="batch-first"),
    pytest.param({"form": "unrolled", "steps": 1}, id="unrolled-once"),
]


def _frames(count: int, batch: int = 2) -> Any:
    return np.random.default_rng(0).standard_normal((count, batch, 3), np.float32)


def _truth(bench: Any, frames: Any) -> Any:
    """The float64 outputs of all frames of an LSTM or GRU encoder with the bench's weights."""
    lead = (1, frames.shape[1], 4)
    feeds = {"x": frames, "h0": np.zeros(lead, np.float32), "c0": np.zeros(lead, np.float32)}
    contract = changed(bench.contract, form="encoder", steps=None, batch_first=False)
    return evaluate(bench.engine.weights, contract.layer(), feeds)


@pytest.mark.parametrize("changes", FORMS)
def test_steps_whose_state_never_leaves_the_device_equal_the_truth(bench: Any, changes: dict[str, Any]) -> None:
    bench.contract = changed(bench.contract, **changes)
    frames = _frames(20)
    state: Any = None
    ys = []
    with bench.use(bench.small).load() as session:
        for frame in frames:
            y, state = session.step(frame, state)
            ys.append(y)
        assert state.is_on_device
        truth = _truth(bench, frames)
        np.testing.assert_allclose(ys, truth["output"], atol=1e-5)
        np.testing.assert_allclose(state.h, truth["hn"].reshape(state.h.shape), atol=1e-5)


def test_a_state_on_the_device_equals_the_same_state_from_the_host(bench: Any) -> None:
    x = _frames(5)
    with bench.load() as session:
        _, state = session.run(x)
        from_device = session.run(x, state)
        from_host = session.run(x, State(state.h, state.c))
    np.testing.assert_array_equal(from_device[0], from_host[0])
    np.testing.assert_array_equal(from_device[1].h, from_host[1].h)
    np.testing.assert_array_equal(from_device[1].c, from_host[1].c)


def test_a_state_is_bound_where_it_lies_and_not_copied(bench: Any) -> None:
    x = _frames(5)
    with bench.load() as session:
        _, state = session.run(x)
        bench.cudart.calls.clear()
        session.run(x, state)
        h, c = state.parts
        assert (bench.engine.addresses["h0"], bench.engine.addresses["c0"]) == (h.address, c.address)
        assert bench.cudart.calls.count("cudaMemcpyAsync") == 2  # x there, output back


def test_an_encoders_state_is_copied_when_it_is_asked_for(bench: Any) -> None:
    with bench.load() as session:
        _, state = session.run(_frames(5))
        bench.cudart.calls.clear()
        assert state.h.shape == (1, 2, 4)
        assert bench.cudart.calls == ["cudaMemcpyAsync", "cudaStreamSynchronize"]


def test_a_steps_y_costs_one_copy_in_the_run_and_none_after(bench: Any) -> None:
    bench.contract = changed(bench.contract, form="step")
    with bench.use(bench.small).load() as session:
        _, state = session.step(_frames(1)[0])
        bench.cudart.calls.clear()
        session.step(_frames(1)[0], state)
        assert bench.cudart.calls.count("cudaStreamSynchronize") == 1
        assert bench.cudart.calls.count("cudaMemcpyAsync") == 2  # x there, hn back


def test_a_steps_y_is_not_the_memory_of_its_h(bench: Any) -> None:
    bench.contract = changed(bench.contract, form="step")
    with bench.use(bench.small).load() as session:
        y, state = session.step(_frames(1)[0])
        before = y.copy()
        y[...] = 9
        np.testing.assert_array_equal(state.h, before)


def test_earlier_states_stay_what_they_were(bench: Any) -> None:
    with bench.load() as session:
        state, states, copies = None, [], []
        for frame in _frames(6):
            _, state = session.step(frame, state)
            states.append(state)
            copies.append((state.h, state.c))
        for earlier, (h, c) in zip(states, copies, strict=True):
            np.testing.assert_array_equal(earlier.h, h)
            np.testing.assert_array_equal(earlier.c, c)
        again = session.step(_frames(6)[1], states[0])[1]
        np.testing.assert_array_equal(again.h, copies[1][0])


def test_a_stream_in_steady_state_allocates_nothing(bench: Any) -> None:
    with bench.load() as session:
        state = session.step(_frames(1)[0])[1]
        state = session.step(_frames(1)[0], state)[1]
        bench.cudart.calls.clear()
        blocks = set()
        for _ in range(20):
            state = session.step(_frames(1)[0], state)[1]
            blocks.add(state.parts[0].address)
        assert "cudaMalloc" not in bench.cudart.calls
        assert len(blocks) == 2


def test_a_state_survives_its_session_and_frees_its_memory_when_it_goes(bench: Any) -> None:
    with bench.load() as session:
        _, state = session.run(_frames(5))
        h = state.h
    assert bench.cudart.device
    np.testing.assert_array_equal(state.h, h)
    del state
    assert bench.cudart.is_empty


def test_another_sessions_state_comes_through_the_host(bench: Any) -> None:
    x = _frames(5)
    with bench.load() as first, bench.load() as second:
        _, state = first.run(x)
        expected = first.run(x, state)[0]
        np.testing.assert_array_equal(second.run(x, state)[0], expected)


def test_a_callers_buffers_are_written_and_given_back(bench: Any) -> None:
    x = _frames(5)
    out = {name: np.zeros((1, 2, 4), np.float32) for name in ("hn", "cn")} | {"output": np.zeros((5, 2, 4), np.float32)}
    with bench.load() as session:
        expected = session.run(x)
        output, state = session.run(x, out=out)
        assert output is out["output"]
        assert state.parts == (out["hn"], out["cn"])
        assert not bench.cudart.failures
    np.testing.assert_array_equal(output, expected[0])
    np.testing.assert_array_equal(out["hn"], expected[1].h)
    np.testing.assert_array_equal(out["cn"], expected[1].c)


def test_one_buffer_of_a_caller_leaves_the_rest_on_the_device(bench: Any) -> None:
    hn = np.zeros((1, 2, 4), np.float32)
    with bench.load() as session:
        _, state = session.run(_frames(5), out={"hn": hn})
        assert state.parts[0] is hn
        assert isinstance(state.parts[1], DeviceArray)


def test_a_steps_state_can_be_updated_in_place(bench: Any) -> None:
    bench.contract = changed(bench.contract, form="step")
    frames = _frames(4)
    with bench.use(bench.small).load() as session:
        h, c = np.zeros((2, 4), np.float32), np.zeros((2, 4), np.float32)
        for frame in frames:
            session.step(frame, State(h, c), out={"hn": h, "cn": c})
        np.testing.assert_allclose(h, _truth(bench, frames)["hn"][0], atol=1e-5)


def test_a_failed_run_gives_its_blocks_back(bench: Any) -> None:
    with bench.load() as session:
        session.run(_frames(5))
        allocations = bench.cudart.calls.count("cudaMalloc")
        bench.engine.refused = {"execute_async_v3"}
        for _ in range(3):
            with pytest.raises(Exception, match="execution"):
                session.run(_frames(5))
        bench.engine.refused = set()
        bench.check(session, 5, 2)
        assert bench.cudart.calls.count("cudaMalloc") == allocations


def test_threads_share_a_session(bench: Any) -> None:
    frames = _frames(12)
    failures: list[BaseException] = []
    with bench.load() as session:
        expected = []
        state = None
        for frame in frames:
            y, state = session.step(frame, state)
            expected.append(y)

        execute, inside = session._backend._execute, []

        def execute_slowly(call: Any) -> None:
            inside.append(call)
            time.sleep(0.002)
            assert inside == [call], "one call at a time owns the buffers"
            execute(call)
            inside.clear()

        session._backend._execute = execute_slowly

        def stream() -> None:
            state = None
            try:
                for frame, right in zip(frames, expected, strict=True):
                    y, state = session.step(frame, state)
                    np.testing.assert_array_equal(y, right)
                    assert state.h.shape == (1, 2, 4)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=stream) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
