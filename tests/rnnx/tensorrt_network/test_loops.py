"""Loops made by hand, for what no ONNX operator makes of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rnnx.tensorrt_network.program import Program
from rnnx_runtime.errors import BackendError

pytestmark = pytest.mark.tensorrt
pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")

Make = Callable[..., Program]
X = np.arange(1, 6, dtype=np.float32)


def _trips(count: int) -> Any:
    return np.array(count)


def _sums(reverse: bool) -> Callable[..., Any]:
    """The running total of x, and all of its values."""

    def build(trt: Any, network: Any, x: Any, count: Any) -> Any:
        loop = network.add_loop()
        loop.add_trip_limit(count, trt.TripLimit.COUNT)
        value = loop.add_iterator(x, 0, reverse).get_output(0)
        total = loop.add_recurrence(network.add_constant((), np.zeros(1, np.float32)).get_output(0))
        following = network.add_elementwise(total.get_output(0), value, trt.ElementWiseOperation.SUM).get_output(0)
        total.set_input(1, following)
        every = loop.add_loop_output(total.get_output(0), trt.LoopOutput.CONCATENATE)
        every.set_input(1, count)
        last = loop.add_loop_output(total.get_output(0), trt.LoopOutput.LAST_VALUE)
        return every.get_output(0), last.get_output(0)

    return build


@pytest.mark.parametrize(
    ("reverse", "totals", "last"), [(False, [0, 1, 3], 6), (True, [0, 3, 5], 6)], ids=["forward", "reverse"]
)
def test_an_iterator_goes_as_far_as_the_trip_limit(
    reverse: bool, totals: list[float], last: float, network_program: Make
) -> None:
    program = network_program(_sums(reverse), x=("FLOAT", (-1,)), count=("INT32", ()))
    got = program.run({"x": X, "count": _trips(3)})
    assert got["y0"].tolist() == totals  # of a recurrence, the value that each step starts with
    assert got["y1"].tolist() == last  # and at last the one that it would go on with


def test_more_steps_than_there_are_values_are_a_failure(network_program: Make) -> None:
    program = network_program(_sums(False), x=("FLOAT", (-1,)), count=("INT32", ()))
    with pytest.raises(BackendError, match=r"loop '.*': got ValueError: 6 steps over an axis of size 5"):
        program.run({"x": X, "count": _trips(6)})


def test_values_of_no_step_have_no_shape(network_program: Make) -> None:
    program = network_program(_sums(False), x=("FLOAT", (-1,)), count=("INT32", ()))
    with pytest.raises(BackendError, match=r"type LOOP_OUTPUT: got values of 0 steps, expected at least one"):
        program.run({"x": X, "count": _trips(0)})


@pytest.mark.parametrize(("count", "expected"), [(0, (1, 2)), (1, (2, 1)), (2, (1, 2))])
def test_recurrences_advance_together(count: int, expected: tuple[int, int], network_program: Make) -> None:
    def build(trt: Any, network: Any, a: Any, b: Any, count: Any) -> Any:
        loop = network.add_loop()
        loop.add_trip_limit(count, trt.TripLimit.COUNT)
        first, second = loop.add_recurrence(a), loop.add_recurrence(b)
        first.set_input(1, second.get_output(0))
        second.set_input(1, first.get_output(0))
        return tuple(
            loop.add_loop_output(layer.get_output(0), trt.LoopOutput.LAST_VALUE).get_output(0)
            for layer in (first, second)
        )

    program = network_program(build, a=("FLOAT", ()), b=("FLOAT", ()), count=("INT32", ()))
    got = program.run({"a": np.array(1), "b": np.array(2), "count": _trips(count)})
    assert (float(got["y0"]), float(got["y1"])) == expected


def test_a_condition_is_calculated_before_each_step(network_program: Make) -> None:
    def build(trt: Any, network: Any, limit: Any) -> Any:
        def number(value: float) -> Any:
            return network.add_constant((), np.array([value], np.float32)).get_output(0)

        loop = network.add_loop()
        value = loop.add_recurrence(number(1))
        doubled = network.add_elementwise(value.get_output(0), number(2), trt.ElementWiseOperation.PROD).get_output(0)
        below = network.add_elementwise(doubled, limit, trt.ElementWiseOperation.LESS).get_output(0)
        loop.add_trip_limit(below, trt.TripLimit.WHILE)
        value.set_input(1, doubled)
        return loop.add_loop_output(value.get_output(0), trt.LoopOutput.LAST_VALUE).get_output(0)

    program = network_program(build, limit=("FLOAT", ()))
    assert program.run({"limit": np.array(20)})["y0"] == 16
    assert program.run({"limit": np.array(2)})["y0"] == 1


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_values_are_joined_along_the_axis_that_the_output_names(axis: int, network_program: Make) -> None:
    def build(trt: Any, network: Any, x: Any, count: Any) -> Any:
        loop = network.add_loop()
        loop.add_trip_limit(count, trt.TripLimit.COUNT)
        value = loop.add_iterator(x, 1).get_output(0)
        result = network.add_unary(value, trt.UnaryOperation.NEG).get_output(0)
        every = loop.add_loop_output(result, trt.LoopOutput.REVERSE, axis)
        every.set_input(1, count)
        return every.get_output(0)

    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    program = network_program(build, x=("FLOAT", (2, -1, 4)), count=("INT32", ()))
    got = program.run({"x": x, "count": _trips(3)})["y0"]
    np.testing.assert_array_equal(got, -np.moveaxis(x[:, ::-1], 1, axis))
