"""The sizes of outputs, read off the shapes of runs."""

from collections.abc import Callable

import pytest

from rnnx.adopting.foreign_runs import Run
from rnnx.adopting.output_sizes import with_output_sizes
from rnnx_runtime.contract import Contract, Source, StatePair, Streaming, TensorSpec

SIZES = [(time, batch) for time in (3, 4, 5, 6, 8, 9, 13, 20) for batch in (1, 2, 3)]


def contract(*outputs: str, states: tuple[StatePair, ...] = ()) -> Contract:
    return Contract(
        inputs=(
            TensorSpec(name="x", dtype="float32", dims=("T", "B", 5)),
            TensorSpec(name="h", dtype="float32", dims=(1, "B", 8)),
        ),
        outputs=tuple(TensorSpec(name=name, dtype="float32", dims=("?",)) for name in outputs),
        states=states,
        lengths=(),
        recurrent=(),
        streaming=Streaming(kind="no"),
        precision="float32",
        source=Source(file="", module="", weights_sha256=""),
    )


@pytest.mark.parametrize(
    ("shape", "dims"),
    [
        pytest.param(lambda t, b: (t, b, 5), "(T, B, 5)", id="same"),
        pytest.param(lambda t, b: (t - 2, b), "(T - 2, B)", id="less"),
        pytest.param(lambda t, b: (3 * t + 1, b), "(3*T + 1, B)", id="times"),
        pytest.param(lambda t, b: ((t + 1) // 2, b), "((T + 1)//2, B)", id="halved-up"),
        pytest.param(lambda t, b: (t // 4 + 2, b), "(T//4 + 2, B)", id="quartered"),
        pytest.param(lambda t, b: (t * b, 5), "(T*B, 5)", id="joined"),
        pytest.param(lambda t, b: (t * t + b,), "(O1,)", id="of-its-own"),
        pytest.param(lambda t, b: (), "()", id="scalar"),
    ],
)
def test_an_axis_is_what_all_runs_agree_on(shape: Callable[[int, int], tuple[int, ...]], dims: str) -> None:
    runs = [Run(inputs={"x": (t, b, 5), "h": (1, b, 8)}, outputs={"y": shape(t, b)}) for t, b in SIZES]
    (found,) = with_output_sizes(contract("y"), runs).outputs
    assert found.shape == dims


def test_a_state_has_the_dims_of_its_input() -> None:
    runs = [Run(inputs={"x": (3, 1, 5), "h": (1, 1, 8)}, outputs={"hn": (1, 1, 8)})]
    states = (StatePair(input="h", output="hn"),)
    (found,) = with_output_sizes(contract("hn", states=states), runs).outputs
    assert found.dims == (1, "B", 8)


def test_runs_at_sizes_that_turned_out_to_be_fixed_do_not_count() -> None:
    runs = [Run(inputs={"x": (t, b, 5), "h": (1, b, 8)}, outputs={"y": (t,)}) for t, b in SIZES]
    runs.append(Run(inputs={"x": (7, 2, 5), "h": (1, 9, 8)}, outputs={"y": (99,)}))
    (found,) = with_output_sizes(contract("y"), runs).outputs
    assert found.dims == ("T",)
