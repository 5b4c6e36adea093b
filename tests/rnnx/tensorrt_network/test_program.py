from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rnnx.tensorrt_network.program import Program
from rnnx_runtime.errors import BackendError

pytestmark = pytest.mark.tensorrt
pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")

Make = Callable[..., Program]
TWO = np.array([1, 2], np.float32)


def _negated(trt: Any, network: Any, x: Any) -> Any:
    return network.add_unary(x, trt.UnaryOperation.NEG).get_output(0)


def test_it_knows_inputs_outputs_and_types(network_program: Make) -> None:
    program = network_program(_negated, x=("HALF", (-1, 2)))
    assert [(tensor.name, tensor.type, tensor.shape) for tensor in program.inputs] == [("x", "HALF", (-1, 2))]
    assert [(tensor.name, tensor.type, tensor.shape) for tensor in program.outputs] == [("y0", "HALF", (-1, 2))]
    assert program.types == {"x": "HALF", "y0": "HALF"}


def test_an_output_may_be_an_input(network_program: Make) -> None:
    def build(trt: Any, network: Any, x: Any) -> Any:
        return network.add_identity(x).get_output(0)

    assert network_program(build, x=("FLOAT", (2,))).run({"x": TWO})["y0"].tolist() == [1, 2]


def test_an_input_that_is_missing_is_named(network_program: Make) -> None:
    program = network_program(_negated, x=("FLOAT", (2,)))
    with pytest.raises(BackendError, match=r"input 'x' of the parsed network: got no such input among z, "):
        program.run({"z": TWO})


@pytest.mark.parametrize("shape", [(3,), (2, 1), ()], ids=str)
def test_an_input_of_another_shape_is_refused(shape: tuple[int, ...], network_program: Make) -> None:
    program = network_program(_negated, x=("FLOAT", (2,)))
    with pytest.raises(BackendError, match=r"input 'x' of the parsed network: got \(.*\), expected FLOAT \(2\)"):
        program.run({"x": np.zeros(shape, np.float32)})


def test_a_size_that_a_layer_does_not_take_is_a_failure_that_names_the_layer(network_program: Make) -> None:
    def build(trt: Any, network: Any, x: Any) -> Any:
        layer = network.add_shuffle(x)
        layer.name, layer.reshape_dims = "Reshape_7", (2, 3)
        return layer.get_output(0)

    program = network_program(build, x=("FLOAT", (-1,)))
    assert program.run({"x": np.zeros(6)})["y0"].shape == (2, 3)
    with pytest.raises(BackendError, match=r"layer 'Reshape_7' of type SHUFFLE: got ValueError: cannot reshape array"):
        program.run({"x": np.zeros(7)})


def test_numbers_that_are_none_come_through_without_a_warning(network_program: Make) -> None:
    def build(trt: Any, network: Any, x: Any) -> Any:
        return network.add_unary(x, trt.UnaryOperation.LOG).get_output(0)

    got = network_program(build, x=("FLOAT", (2,))).run({"x": np.array([-1, 0])})["y0"]
    assert np.isnan(got[0])
    assert np.isneginf(got[1])


def test_running_does_not_touch_what_it_was_fed_or_gave_before(network_program: Make) -> None:
    program = network_program(_negated, x=("FLOAT", (2,)))
    fed = TWO.copy()
    first = program.run({"x": fed})["y0"]
    program.run({"x": fed * 5})
    assert fed.tolist() == [1, 2]
    assert first.tolist() == [-1, -2]


@pytest.mark.parametrize(("holds", "expected"), [(True, [2, 3]), (False, [-1, -2])])
def test_the_branch_that_is_not_taken_does_not_run(holds: bool, expected: list[float], network_program: Make) -> None:
    def build(trt: Any, network: Any, x: Any, wide: Any, holds: Any) -> Any:
        conditional = network.add_if_conditional()
        conditional.set_condition(holds)
        inner, other = (conditional.add_input(tensor).get_output(0) for tensor in (x, wide))
        halves = network.add_shuffle(other)
        halves.reshape_dims = (2,)
        total = network.add_elementwise(inner, halves.get_output(0), trt.ElementWiseOperation.SUM).get_output(0)
        negative = network.add_unary(inner, trt.UnaryOperation.NEG).get_output(0)
        return conditional.add_output(total, negative).get_output(0)

    program = network_program(build, x=("FLOAT", (2,)), wide=("FLOAT", (-1,)), holds=("BOOL", ()))
    wide = np.ones(2 if holds else 5)  # five values make no pair, which only the true branch would want
    assert program.run({"x": TWO, "wide": wide, "holds": np.array(holds)})["y0"].tolist() == expected
