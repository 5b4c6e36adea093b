from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.contracts import changed

from rnnx_runtime import Contract, InputError
from rnnx_runtime.arrays.out_buffers import OutBuffers

Array = NDArray[Any]


def empty(*shape: int) -> Array:
    return np.empty(shape, np.float32)


@pytest.fixture
def feeds() -> dict[str, Array]:
    return {"x": empty(5, 2, 10), "h0": empty(4, 2, 4), "c0": empty(4, 2, 4)}


@pytest.fixture
def buffers(contract: Contract) -> OutBuffers:
    return OutBuffers(contract)


def read_only(value: Array) -> Array:
    value.flags.writeable = False
    return value


def message_of(buffers: OutBuffers, out: Any, feeds: dict[str, Array]) -> str:
    with pytest.raises(InputError) as caught:
        buffers.checked(out, feeds)
    return str(caught.value)


def test_a_lone_array_is_output(buffers: OutBuffers, feeds: dict[str, Array]) -> None:
    output = empty(5, 2, 8)
    assert buffers.checked(output, feeds)["output"] is output


def test_any_of_the_results_may_have_a_buffer(buffers: OutBuffers, feeds: dict[str, Array]) -> None:
    given = {"output": empty(5, 2, 8), "hn": empty(4, 2, 4), "cn": empty(4, 2, 4)}
    assert buffers.checked(given, feeds) == given
    assert list(buffers.checked({"cn": given["cn"]}, feeds)) == ["cn"]


@pytest.mark.parametrize(
    ("changes", "x", "shapes"),
    [
        pytest.param({"batch_first": True}, (2, 5, 10), {"output": (2, 5, 8), "hn": (4, 2, 4)}, id="batch-first"),
        pytest.param({"form": "step", "directions": 1}, (2, 10), {"output": (2, 4), "cn": (2, 4)}, id="step"),
        pytest.param({"projection_size": 3}, (5, 2, 10), {"output": (5, 2, 6), "hn": (4, 2, 3)}, id="projected"),
    ],
)
def test_shapes_are_those_of_the_models_own_layout(
    contract: Contract, changes: dict[str, Any], x: tuple[int, ...], shapes: dict[str, tuple[int, ...]]
) -> None:
    buffers = OutBuffers(changed(contract, **changes))
    given = {name: empty(*shape) for name, shape in shapes.items()}
    assert buffers.checked(given, {"x": empty(*x)}) == given


@pytest.mark.parametrize(
    ("output", "got"),
    [
        pytest.param(np.empty((5, 2, 8)), "float64 (5, 2, 8)", id="float64"),
        pytest.param(np.empty((5, 2, 8), ">f4"), ">f4 (5, 2, 8)", id="byte-order"),
        pytest.param(empty(5, 2, 7), "float32 (5, 2, 7)", id="size"),
        pytest.param(empty(5, 16), "float32 (5, 16)", id="rank"),
        pytest.param(empty(6, 2, 8), "float32 (6, 2, 8)", id="too-large"),
        pytest.param(read_only(empty(5, 2, 8)), "a read-only array", id="read-only"),
        pytest.param(empty(5, 2, 16)[..., ::2], "a strided array", id="strided"),
        pytest.param(np.asfortranarray(empty(5, 2, 8)), "a strided array", id="fortran"),
        pytest.param([0.0], "list", id="list"),
        pytest.param(None, "NoneType", id="none"),
    ],
)
def test_a_buffer_that_cannot_take_a_result_is_refused(
    buffers: OutBuffers, feeds: dict[str, Array], output: Any, got: str
) -> None:
    assert message_of(buffers, {"output": output}, feeds) == (
        f"out 'output': got {got}, expected float32 (5, 2, 8), writable and C-contiguous; "
        "make it with np.empty((5, 2, 8), np.float32)"
    )


@pytest.mark.parametrize(("out", "got"), [([1.0], "list"), ({"c": 1}, "'c'"), ({"lengths": 1}, "'lengths'")])
def test_what_names_no_result_is_refused(buffers: OutBuffers, feeds: dict[str, Array], out: Any, got: str) -> None:
    expected = "an array, or a mapping of output, hn, cn to arrays"
    assert message_of(buffers, out, feeds).startswith(f"out: got {got}, expected {expected}; ")


def test_a_gru_has_no_cn(contract: Contract, feeds: dict[str, Array]) -> None:
    gru = OutBuffers(changed(contract, cell="gru"))
    assert "got 'cn', expected an array, or a mapping of output, hn to" in message_of(gru, {"cn": 1}, feeds)


MEMORY = np.zeros(400, np.float32)


@pytest.mark.parametrize("fed", ["x", "h0", "c0"])
def test_a_buffer_over_an_input_is_refused(buffers: OutBuffers, feeds: dict[str, Array], fed: str) -> None:
    shape, size = feeds[fed].shape, feeds[fed].size
    feeds[fed] = MEMORY[79 : 79 + size].reshape(shape)
    assert message_of(buffers, MEMORY[:80].reshape(5, 2, 8), feeds).startswith(f"out 'output': got memory of {fed}, ")
    feeds[fed] = MEMORY[80 : 80 + size].reshape(shape)
    buffers.checked(MEMORY[:80].reshape(5, 2, 8), feeds)


def test_buffers_over_each_other_are_refused(buffers: OutBuffers, feeds: dict[str, Array]) -> None:
    same = empty(4, 2, 4)
    assert message_of(buffers, {"hn": same, "cn": same}, feeds).startswith("out 'hn': got memory of out 'cn', ")


def test_a_state_may_be_updated_in_place_and_not_otherwise(buffers: OutBuffers, feeds: dict[str, Array]) -> None:
    buffers.checked({"hn": feeds["h0"], "cn": feeds["c0"]}, feeds)
    assert "got memory of c0" in message_of(buffers, {"hn": feeds["c0"]}, feeds)
    assert "got memory of h0" in message_of(buffers, {"hn": feeds["h0"][:]}, feeds)


def test_the_buffer_of_a_steps_y_has_no_time_axis(buffers: OutBuffers) -> None:
    buffers.check_step("output", empty(2, 8), (2, 8))
    with pytest.raises(InputError, match=r"out 'output': got float32 \(1, 2, 8\), expected float32 \(2, 8\)"):
        buffers.check_step("output", empty(1, 2, 8), (2, 8))
