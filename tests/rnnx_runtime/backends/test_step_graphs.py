"""Steps as CUDA graphs: which are captured, when they are let go, and what happens where none can be."""

from typing import Any

import numpy as np
import pytest
from tests.contracts import changed

from rnnx_runtime import BackendError, State
from rnnx_runtime.backends import step_graphs


def _frame(batch: int = 1) -> Any:
    return np.random.default_rng(1).standard_normal((batch, 3), np.float32)


def _steps(session: Any, count: int, batch: int = 1, state: Any = None) -> Any:
    for _ in range(count):
        _, state = session.step(_frame(batch), state)
    return state


def _said(session: Any) -> Any:
    said = session.describe()
    assert said.pop("device") == session.device
    del said["backend"]
    return said


def _launches(bench: Any) -> int:
    count: int = bench.cudart.calls.count("cudaGraphLaunch")
    return count


def test_a_stream_alternates_between_two_graphs(bench: Any) -> None:
    with bench.load() as session:
        _steps(session, 15)
        assert _said(session) == {"cuda_graphs": 2, "cuda_graphs_failure": None}
        assert _launches(bench) == 14 - 2 * 2  # each pair of states: once plainly, once more before its capture
        assert bench.engine.calls.count("execute") == 1 + 2 * 3  # the first step, then plain, plain and captured


def test_a_graph_holds_the_copies_too(bench: Any) -> None:
    with bench.load() as session:
        state = _steps(session, 10)
        bench.cudart.calls.clear()
        bench.engine.calls.clear()
        session.step(_frame(), state)
        assert bench.cudart.calls == ["cudaGraphLaunch", "cudaStreamSynchronize"]
        assert bench.engine.calls == []


@pytest.mark.parametrize("form", ["encoder", "step"])
def test_replayed_steps_equal_plain_ones(bench: Any, form: str) -> None:
    bench.contract = changed(bench.contract, form=form)
    frames = np.random.default_rng(2).standard_normal((30, 2, 3), np.float32)

    def values(failure: str | None) -> Any:
        state: Any = None
        with bench.use(bench.small).load() as session:
            session._backend._graphs.failure = failure
            for frame in frames:
                y, state = session.step(frame, state)
                yield from (y, state.h, state.c)

    replayed = list(values(None))
    launches = _launches(bench)
    assert launches > 20
    for one, other in zip(replayed, values("none are wanted"), strict=True):
        np.testing.assert_array_equal(one, other)
    assert _launches(bench) == launches


def test_states_from_the_host_replay_one_graph(bench: Any) -> None:
    h, c = np.zeros((1, 1, 4), np.float32), np.zeros((1, 1, 4), np.float32)
    out = {"hn": h, "cn": c}
    with bench.load() as session:
        for _ in range(8):
            session.step(_frame(), State(h, c), out=out)
        assert _said(session)["cuda_graphs"] == 1
        assert _launches(bench) == 6
        in_place = h.copy()
        np.testing.assert_array_equal(_steps(session, 8).h, in_place)


def test_sequences_are_not_captured(bench: Any) -> None:
    with bench.load() as session:
        for _ in range(6):
            session.run(np.ones((2, 1, 3), np.float32))
        assert _said(session)["cuda_graphs"] == 0
        for _ in range(6):
            session.run(np.ones((1, 1, 3), np.float32))
        assert _said(session)["cuda_graphs"] == 1


def test_lengths_are_copied_at_each_launch(bench: Any) -> None:
    bench.contract = changed(bench.contract, lengths=True)
    x = np.ones((1, 2, 3), np.float32)
    with bench.use(bench.small).load() as session:
        for _ in range(4):
            bench.check(session, 1, 2)
            session.run(x, lengths=np.ones(2, np.int32))
        assert _launches(bench) > 2


def test_an_engine_that_reads_host_memory_is_never_captured(bench: Any) -> None:
    bench.contract = changed(bench.contract, lengths=True)
    bench.use(bench.small).engine.on_host = {"lengths"}
    with bench.load() as session:
        _steps(session, 8)
        assert _said(session) == {"cuda_graphs": 0, "cuda_graphs_failure": None}


def test_other_sizes_between_do_not_disturb_a_graph(bench: Any) -> None:
    one: Any = None
    two: Any = None
    with bench.load() as session:
        for index in range(12):
            one = _steps(session, 1, 1, one)
            two = _steps(session, 1, 2, two)
            if index % 4 == 0:
                session.run(np.ones((7, 1, 3), np.float32))
                session.run(np.ones((50, 16, 3), np.float32))  # another profile, and buffers that grow
        np.testing.assert_array_equal(one.h[0, 0], _steps(session, 12).h[0, 0])
        np.testing.assert_array_equal(two.h, _steps(session, 12, 2).h)


def test_graphs_go_before_memory_that_they_use(bench: Any) -> None:
    with bench.load() as session:
        _steps(session, 8)
        assert _said(session)["cuda_graphs"] == 2
        session.run(np.ones((8, 2, 3), np.float32))  # x grows
        assert _said(session)["cuda_graphs"] == 0
        _steps(session, 8)
        assert _said(session)["cuda_graphs"] == 2
    assert bench.cudart.is_empty


def test_no_more_graphs_are_kept_than_agreed(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_graphs, "MOST_GRAPHS", 3)
    with bench.use(bench.large).load() as session:
        session.run(np.ones((1, 32, 3), np.float32))
        for batch in range(1, 8):
            _steps(session, 9, batch)
            assert len(bench.cudart.executables) <= 3
            assert len(bench.engine.alive) <= 4
        kept = _launches(bench)
        _steps(session, 4, 7)
        assert _launches(bench) > kept, "the one used last is kept"


def test_the_graph_longest_unused_is_let_go(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_graphs, "MOST_GRAPHS", 2)
    frames = {batch: np.ones((1, batch, 3), np.float32) for batch in (4, 1, 2, 3)}
    with bench.use(bench.large).load() as session:
        for batch in (4, 1, 1, 2, 2, 1, 3, 3):
            session.run(frames[batch])
        before = _launches(bench)
        session.run(frames[1])
        session.run(frames[3])
        assert _launches(bench) == before + 2
        session.run(frames[2])
        assert _launches(bench) == before + 2


def test_a_caller_who_wants_more_copied_gets_it(bench: Any) -> None:
    x, hn = np.ones((1, 1, 3), np.float32), np.zeros((1, 1, 4), np.float32)
    with bench.load() as session:
        session.run(-x, out={"hn": hn})
        for _ in range(4):
            right = session.run(x)[1].h
        session.run(x, out={"hn": hn})
    np.testing.assert_array_equal(hn, right)


def test_many_streams_are_stepped_plainly_and_nothing_grows(bench: Any) -> None:
    with bench.load() as session:
        states: list[Any] = [None] * 50
        for _ in range(4):
            states = [_steps(session, 1, 1, state) for state in states]
        assert bench.engine.contexts == 1
        assert len(session._backend._graphs._seen) <= step_graphs.MOST_GRAPHS
        np.testing.assert_array_equal(states[0].h, states[49].h)


@pytest.mark.parametrize("function", ["cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphInstantiate"])
def test_a_failed_capture_is_said_and_never_tried_again(bench: Any, function: str) -> None:
    with bench.load() as session:
        bench.cudart.failures[function] = bench.cudart.cudaError_t.cudaErrorStreamCaptureInvalidated
        _steps(session, 12)
        assert function in _said(session)["cuda_graphs_failure"]
        assert _said(session)["cuda_graphs"] == 0
        assert bench.cudart.calls.count("cudaStreamBeginCapture") == 1
        bench.cudart.failures.clear()
        bench.check(session, 1, 1)
        bench.check(session, 5, 2)
    assert bench.cudart.is_empty


def test_a_failed_capture_lets_the_other_graphs_go(bench: Any) -> None:
    with bench.load() as session:
        session.run(np.ones((1, 2, 3), np.float32))
        _steps(session, 8)
        bench.cudart.failures["cudaGraphInstantiate"] = bench.cudart.cudaError_t.cudaErrorMemoryAllocation
        _steps(session, 8, 2)
        assert not bench.cudart.executables
        assert len(bench.engine.alive) == 1


def test_an_engine_that_says_it_cannot_be_captured_is_believed(bench: Any) -> None:
    bench.engine.capturable = False
    with bench.load() as session:
        _steps(session, 8)
        assert "the engine cannot be captured" in _said(session)["cuda_graphs_failure"]
        assert "cudaStreamBeginCapture" not in bench.cudart.calls
        bench.check(session, 1, 1)


def test_an_engine_that_says_it_can_be_captured_is(bench: Any) -> None:
    bench.engine.capturable = True
    with bench.load() as session:
        _steps(session, 8)
        assert _said(session) == {"cuda_graphs": 2, "cuda_graphs_failure": None}


def test_a_second_context_that_does_not_fit_is_no_error_of_the_step(bench: Any) -> None:
    with bench.load() as session:
        first = bench.engine.create_execution_context
        bench.engine.create_execution_context = lambda settings=None: None
        state = _steps(session, 6)
        assert "making an execution context" in _said(session)["cuda_graphs_failure"]
        bench.engine.create_execution_context = first
        np.testing.assert_array_equal(state.h, _steps(session, 6).h)


def test_a_step_that_the_engine_refuses_in_a_new_context_runs_in_the_old_one_or_says_why(bench: Any) -> None:
    with bench.load() as session:
        _steps(session, 2)
        state = _steps(session, 1)
        bench.engine.refused = {"execute_async_v3"}
        with pytest.raises(BackendError, match="execute_async_v3: no, because"):
            _steps(session, 3, state=state)
        bench.engine.refused = set()
        bench.check(session, 1, 1)


def test_contexts_of_rtx_compile_their_kernels_before_a_capture_and_share_them(bench: Any) -> None:
    strategies = type("Strategies", (), {"EAGER": "eager"})
    bench.library.DynamicShapesKernelSpecializationStrategy = strategies
    with bench.load() as session:
        _steps(session, 8)
        settings = [context.settings for context in bench.engine.alive if context.settings is not None]
        assert len(settings) == 2
        assert settings[0] is settings[1]
        assert settings[0].dynamic_shapes_kernel_specialization_strategy == "eager"
        assert settings[0].cache == "a cache"


def test_a_library_that_gives_no_settings_captures_nothing(bench: Any) -> None:
    bench.library.DynamicShapesKernelSpecializationStrategy = type("Strategies", (), {"EAGER": "eager"})
    bench.engine.create_runtime_config = lambda: None
    with bench.load() as session:
        _steps(session, 8)
        assert "making a runtime configuration" in _said(session)["cuda_graphs_failure"]
