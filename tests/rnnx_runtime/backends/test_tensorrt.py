"""Running a plan: what is called in which order, what memory it takes, what happens when a call is refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.contracts import changed

from rnnx_runtime import BackendError, InputError
from rnnx_runtime.files.sidecar import Flavor


@pytest.mark.parametrize("flavor", ["tensorrt", "tensorrt-rtx"])
def test_a_plan_gives_what_its_model_computes(bench: Any, flavor: Flavor) -> None:
    with bench.use(bench.small, bench.large, flavor=flavor).load() as session:
        assert session.device == "Fake GPU"
        for time, batch in ((1, 1), (5, 3), (2, 2), (100, 32)):
            bench.check(session, time, batch)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"cell": "gru"}, id="gru"),
        pytest.param({"layers": 2, "directions": 2, "lengths": True}, id="two-layers-bidirectional-lengths"),
        pytest.param({"batch_first": True}, id="batch-first"),
        pytest.param({"state_inputs": False}, id="no-state-inputs"),
        pytest.param({"form": "step"}, id="step"),
        pytest.param({"form": "unrolled", "steps": 4}, id="unrolled"),
    ],
)
def test_every_form_runs(bench: Any, changes: dict[str, Any]) -> None:
    bench.contract = changed(bench.contract, **changes)
    with bench.use(bench.small, bench.large).load() as session:
        bench.check(session, time=4, batch=3)


def test_lengths_that_shape_the_graph_stay_on_the_host(bench: Any) -> None:
    bench.contract = changed(bench.contract, lengths=True)
    bench.use(bench.large).engine.on_host = {"lengths", "hn"}
    with bench.load() as session:
        bench.check(session, time=7, batch=5)
    assert bench.cudart.calls.count("cudaMemcpyAsync") == 3 + 2


def test_inputs_in_any_memory_order_are_read_as_they_are(bench: Any) -> None:
    x = np.random.default_rng(0).standard_normal((3, 6, 5)).astype(np.float32).T
    with bench.load() as session:
        strided, _ = session.run(x)
        plain, _ = session.run(np.ascontiguousarray(x))
    np.testing.assert_array_equal(strided, plain)


def test_results_have_memory_of_their_own(bench: Any) -> None:
    with bench.load() as session:
        output, state = session.run(np.ones((2, 1, 3), np.float32))
        before = [output.copy(), state.h.copy()]
        session.run(np.full((2, 1, 3), -2, np.float32))
        assert output.flags.owndata
    np.testing.assert_array_equal([output[-1], state.h[0]], [before[0][-1], before[1][0]])


def test_the_calls_come_in_the_order_that_tensorrt_needs(bench: Any) -> None:
    with bench.load() as session:
        session.run(np.ones((50, 16, 3), np.float32))
    assert bench.engine.calls == [
        "profile 1",
        "shape x (50, 16, 3)",
        "shape h0 (1, 16, 4)",
        "shape c0 (1, 16, 4)",
        "address x",
        "address h0",
        "address c0",
        "address output",
        "address hn",
        "address cn",
        "infer shapes",
        "execute",
    ]
    copies = [call for call in bench.cudart.calls if call in ("cudaMemcpyAsync", "cudaStreamSynchronize")]
    assert copies == ["cudaMemcpyAsync"] * 4 + ["cudaStreamSynchronize"] * 2  # the last one is close's


def test_what_did_not_change_is_not_said_again(bench: Any) -> None:
    x = np.ones((5, 2, 3), np.float32)
    with bench.load() as session:
        session.run(x)
        bench.engine.calls.clear()
        session.run(x)
        assert bench.engine.calls == ["execute"]
        bench.engine.calls.clear()
        _, state = session.run(x)
        session.run(x, state)
        assert bench.engine.calls == ["execute", *(f"address {name}" for name in ("h0", "c0", "hn", "cn")), "execute"]


def test_lengths_that_shape_the_graph_are_looked_at_in_every_call(bench: Any) -> None:
    bench.contract = changed(bench.contract, lengths=True)
    bench.use(bench.large).engine.on_host = {"lengths"}
    with bench.load() as session:
        for _ in range(2):
            session.run(np.ones((5, 2, 3), np.float32))
    assert bench.engine.calls.count("infer shapes") == 2


def test_a_call_after_a_refused_one_says_everything(bench: Any) -> None:
    with bench.load() as session:
        session.run(np.ones((5, 2, 3), np.float32))
        bench.engine.refused = {"set_tensor_address"}
        with pytest.raises(BackendError):
            session.run(np.ones((5, 1, 3), np.float32))
        bench.engine.refused = set()
        bench.check(session, time=5, batch=2)
        bench.check(session, time=5, batch=1)


def test_an_output_of_another_shape_is_refused(bench: Any) -> None:
    with bench.load() as session:
        bench.engine.specs["output"] = replace(bench.engine.specs["output"], dims=("T", "B", 9))
        with pytest.raises(BackendError, match=r"giving output the shape \(2, 1, 9\), not \(2, 1, 4\)"):
            session.run(np.ones((2, 1, 3), np.float32))


def test_buffers_are_kept_and_grow(bench: Any) -> None:
    with bench.load() as session:
        session.run(np.ones((8, 2, 3), np.float32))
        allocations = bench.cudart.calls.count("cudaMalloc")
        session.run(np.ones((5, 2, 3), np.float32))
        assert bench.cudart.calls.count("cudaMalloc") == allocations == 6
        session.run(np.ones((100, 32, 3), np.float32))
        sizes = sorted(memory.nbytes for memory in bench.cudart.device.values())
    # States of 2·4·4 bytes are kept for use again; of 32·4·4 bytes they are copied in and left; x is 38400 rounded up,
    # and output 51200.
    assert sizes == [32, 32, 512, 512, 512, 512, 65536, 65536]


def test_close_lets_everything_go_users_before_what_they_use(bench: Any) -> None:
    session = bench.load()
    for _ in range(3):
        session.step(np.ones((1, 3), np.float32))
    bench.engine = bench.library.engine = None
    bench.cudart.calls.clear()
    session.close()
    assert bench.cudart.is_empty
    order = list(dict.fromkeys(bench.cudart.calls))
    assert order[:4] == ["cudaStreamSynchronize", "cudaGraphExecDestroy", "context destroyed", "engine destroyed"]
    assert set(order[4:]) == {"cudaFree", "cudaFreeHost", "cudaStreamDestroy"}
    assert bench.cudart.calls[-1] == "cudaStreamDestroy"


def test_close_goes_on_when_one_release_fails(bench: Any) -> None:
    session = bench.load()
    for _ in range(3):
        session.step(np.ones((1, 3), np.float32))
    bench.cudart.failures["cudaFree"] = bench.cudart.cudaError_t.cudaErrorIllegalAddress
    with pytest.raises(BackendError, match="cudaFree"):
        session.close()
    assert not bench.cudart.host
    assert not bench.cudart.queues
    assert not bench.engine.alive


def test_profiles_are_switched_only_when_they_change(bench: Any) -> None:
    with bench.load() as session:
        for time in (2, 2, 50, 50, 60, 2):
            session.run(np.ones((time, 1, 3), np.float32))
    assert [call for call in bench.engine.calls if call.startswith("profile")] == ["profile 1", "profile 0"]


def test_a_refused_call_leaves_the_session_usable(bench: Any) -> None:
    with bench.load() as session:
        with pytest.raises(InputError):
            session.run(np.ones((101, 1, 3), np.float32))
        bench.check(session, time=5, batch=3)


def test_no_context_is_an_error(bench: Any) -> None:
    bench.engine.create_execution_context = lambda: None
    with pytest.raises(BackendError, match="making an execution context: got a refusal without a message"):
        bench.load()
    assert bench.cudart.is_empty


@pytest.mark.parametrize(
    ("method", "action"),
    [
        ("set_optimization_profile_async", "switching to profile 1"),
        ("set_input_shape", r"setting x to \(50, 16, 3\)"),
        ("set_tensor_address", "setting the address of x"),
        ("execute_async_v3", "execution"),
    ],
)
def test_a_refused_call_is_an_error_with_the_librarys_message(bench: Any, method: str, action: str) -> None:
    bench.engine.refused = {method}
    with bench.load() as session, pytest.raises(BackendError, match=f"TensorRT {action}: got {method}: no, because,"):
        session.run(np.ones((50, 16, 3), np.float32))


def test_shapes_that_cannot_be_inferred_are_an_error(bench: Any) -> None:
    bench.engine.refused = {"infer_shapes"}
    with bench.load() as session, pytest.raises(BackendError, match="inferring shapes: got shape inference failed"):
        session.run(np.ones((2, 1, 3), np.float32))


def test_an_unspecified_input_is_an_error(bench: Any) -> None:
    bench.engine.unspecified = ["h0"]
    with bench.load() as session, pytest.raises(BackendError, match="inferring shapes from all but h0"):
        session.run(np.ones((2, 1, 3), np.float32))


@pytest.mark.parametrize("function", ["cudaMalloc", "cudaMallocHost", "cudaMemcpyAsync", "cudaStreamSynchronize"])
def test_a_cuda_failure_in_a_run_is_an_error_and_close_still_frees(bench: Any, function: str) -> None:
    with bench.load() as session:
        bench.cudart.failures[function] = bench.cudart.cudaError_t.cudaErrorMemoryAllocation
        with pytest.raises(BackendError, match=rf"CUDA {function}: got cudaErrorMemoryAllocation \(2\)"):
            session.run(np.ones((2, 1, 3), np.float32))
        bench.cudart.failures.clear()
    assert bench.cudart.is_empty
