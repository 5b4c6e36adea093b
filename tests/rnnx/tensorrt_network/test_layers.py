"""The modes of layers that no ONNX operator leads to, in networks made by hand, and how layers are read."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.rnnx.tensorrt_network.conftest import Array

from rnnx.tensorrt_network.program import Program
from rnnx_runtime.errors import BackendError, BackendUnavailable

pytestmark = pytest.mark.tensorrt
pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")

Make = Callable[..., Program]


def _floats(*values: float) -> Array:
    return np.array(values, np.float32)


X = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("WRAP", [10, 11, 0, 1, 2, 3, 4]),
        ("CLAMP", [0, 0, 0, 1, 2, 3, 4]),
        ("REFLECT", [2, 1, 0, 1, 2, 3, 4]),
        ("FILL", [0, 0, 0, 1, 2, 3, 4]),
    ],
)
def test_a_slice_outside_its_tensor_follows_its_mode(mode: str, expected: list[float], network_program: Make) -> None:
    def build(trt: Any, network: Any, x: Any) -> Any:
        layer = network.add_slice(x, (-2,), (7,), (1,))
        layer.mode = getattr(trt.SampleMode, mode)
        return layer.get_output(0)

    program = network_program(build, x=("FLOAT", (12,)))
    assert program.run({"x": X.reshape(-1)})["y0"].tolist() == expected


def test_a_slice_backwards_reflects_at_both_ends(network_program: Make) -> None:
    def build(trt: Any, network: Any, x: Any) -> Any:
        layer = network.add_slice(x, (4,), (8,), (-1,))
        layer.mode = trt.SampleMode.REFLECT
        return layer.get_output(0)

    program = network_program(build, x=("FLOAT", (3,)))
    assert program.run({"x": _floats(0, 1, 2)})["y0"].tolist() == [0, 1, 2, 1, 0, 1, 2, 1]


def test_a_slice_of_stride_0_repeats_its_start(network_program: Make) -> None:
    def build(trt: Any, network: Any, x: Any) -> Any:
        return network.add_slice(x, (1, 0), (2, 4), (0, 1)).get_output(0)

    assert network_program(build, x=("FLOAT", (3, 4))).run({"x": X})["y0"].tolist() == [[4, 5, 6, 7]] * 2


def test_a_slice_that_leaves_the_tensor_is_no_value(network_program: Make) -> None:
    def build(trt: Any, network: Any, x: Any) -> Any:
        return network.add_slice(x, (1,), (3,), (1,)).get_output(0)

    program = network_program(build, x=("FLOAT", (-1,)))
    assert program.run({"x": X[0]})["y0"].tolist() == [1, 2, 3]
    with pytest.raises(BackendError, match=r"type SLICE: got ValueError: a slice that leaves the tensor: Span"):
        program.run({"x": X[0, :3]})


def test_a_slice_made_again_for_another_size_is_not_remembered(network_program: Make) -> None:
    def build(trt: Any, network: Any, x: Any, size: Any) -> Any:
        layer = network.add_slice(x, (1,), (0,), (1,))
        layer.set_input(2, size)
        return layer.get_output(0)

    program, size = network_program(build, x=("FLOAT", (12,)), size=("INT64", (1,))), np.array([3])
    x = X.reshape(-1)
    assert program.run({"x": x, "size": size})["y0"].tolist() == [1, 2, 3]
    size[0] = 2
    assert program.run({"x": x, "size": size})["y0"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("first", "second", "dims"),
    [
        ("TRANSPOSE", "NONE", ((2, 4, 3), (2, 4, 5))),
        ("TRANSPOSE", "TRANSPOSE", ((2, 4, 3), (2, 5, 4))),
        ("VECTOR", "NONE", ((2, 4), (2, 4, 5))),
        ("NONE", "VECTOR", ((2, 3, 4), (2, 4))),
        ("VECTOR", "VECTOR", ((2, 4), (2, 4))),
    ],
)
def test_a_product_takes_matrices_and_vectors_as_it_is_told(
    first: str, second: str, dims: tuple[tuple[int, ...], ...], network_program: Make
) -> None:
    def build(trt: Any, network: Any, a: Any, b: Any) -> Any:
        op0, op1 = (getattr(trt.MatrixOperation, name) for name in (first, second))
        return network.add_matrix_multiply(a, op0, b, op1).get_output(0)

    chance = np.random.default_rng(3)
    a, b = (chance.standard_normal(shape, np.float32) for shape in dims)
    letters = {"NONE": ("bij", "bjk"), "TRANSPOSE": ("bji", "bkj"), "VECTOR": ("bj", "bj")}
    left, right = letters[first][0], letters[second][1]
    kept = "b" + "i" * ("i" in left) + "k" * ("k" in right)
    got = network_program(build, a=("FLOAT", a.shape), b=("FLOAT", b.shape)).run({"a": a, "b": b})["y0"]
    np.testing.assert_allclose(got, np.einsum(f"{left},{right}->{kept}", a, b), atol=1e-6)


def test_a_gather_element_by_element_goes_row_by_row(network_program: Make) -> None:
    def build(trt: Any, network: Any, x: Any, places: Any) -> Any:
        layer = network.add_gather(x, places, 1)
        layer.num_elementwise_dims = 1
        return layer.get_output(0)

    places = np.array([[0, 3], [1, 1], [2, 0]])
    program = network_program(build, x=("FLOAT", (3, 4)), places=("INT32", (3, 2)))
    assert program.run({"x": X, "places": places})["y0"].tolist() == [[0, 3], [5, 5], [10, 8]]


def test_a_scale_of_one_number_applies_to_all(network_program: Make) -> None:
    def build(trt: Any, network: Any, x: Any) -> Any:
        scale, power = _floats(3), _floats(2)
        return network.add_scale(x, trt.ScaleMode.UNIFORM, trt.Weights(), scale, power).get_output(0)

    program = network_program(build, x=("FLOAT", (1, 1, 2)))
    assert program.run({"x": _floats(1, -2).reshape(1, 1, 2)})["y0"].tolist() == [[[9, 36]]]


def test_the_places_that_are_not_zero(network_program: Make) -> None:
    def build(trt: Any, network: Any, x: Any) -> Any:
        return network.add_non_zero(x).get_output(0)

    x = _floats(0, 2, 3, 0).reshape(2, 2)
    assert network_program(build, x=("FLOAT", (2, 2))).run({"x": x})["y0"].tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize("kind", ["FLOAT", "INT32"])
def test_a_ramp_from_numbers_that_are_fed(kind: str, network_program: Make) -> None:
    def build(trt: Any, network: Any, dims: Any, start: Any, delta: Any) -> Any:
        layer = network.add_fill((2, 3), trt.FillOperation.LINSPACE, getattr(trt.DataType, kind))
        for place, tensor in enumerate((dims, start, delta)):
            layer.set_input(place, tensor)
        return layer.get_output(0)

    program = network_program(build, dims=("INT32", (2,)), start=(kind, ()), delta=(kind, (2,)))
    got = program.run({"dims": np.array([2, 3]), "start": np.array(5), "delta": np.array([10, 2])})["y0"]
    assert got.tolist() == [[5, 7, 9], [15, 17, 19]]


def test_a_shuffle_of_zeros_that_are_no_placeholders_is_empty(network_program: Make) -> None:
    def build(trt: Any, network: Any, x: Any) -> Any:
        layer = network.add_shuffle(x)
        layer.zero_is_placeholder = False
        layer.reshape_dims = (0, 4)
        layer.second_transpose = trt.Permutation([1, 0])
        return layer.get_output(0)

    program = network_program(build, x=("FLOAT", (-1, 4)))
    assert program.run({"x": np.zeros((0, 4), np.float32)})["y0"].shape == (4, 0)


@pytest.mark.parametrize(("kind", "name"), [("HALF", "float16"), ("BF16", "bfloat16")])
def test_a_half_type_is_calculated_in_float32_and_rounded_once(kind: str, name: str, network_program: Make) -> None:
    def build(trt: Any, network: Any, a: Any, b: Any) -> Any:
        op = trt.MatrixOperation.NONE
        return network.add_matrix_multiply(a, op, b, op).get_output(0)

    a, b = np.full((1, 4096), 1.0), np.full((4096, 1), 2.0**-8)
    got = network_program(build, a=(kind, a.shape), b=(kind, b.shape)).run({"a": a, "b": b})["y0"]
    assert got.dtype.name == name
    assert float(got[0, 0]) == 16  # added one by one in a half type it would stop growing long before


def test_fp8_is_rounded_and_clamped(network_program: Make) -> None:
    def build(trt: Any, network: Any, x: Any) -> Any:
        scale = network.add_constant((), _floats(2)).get_output(0)
        coded = network.add_quantize(x, scale, trt.DataType.FP8).get_output(0)
        return network.add_dequantize(coded, scale, trt.DataType.FLOAT).get_output(0)

    program = network_program(build, x=("FLOAT", (3,)))
    assert program.run({"x": _floats(2.2, -1e6, 40)})["y0"].tolist() == [2.25, -896, 40]


def test_int8_is_clamped_and_halves_go_to_the_even_side(network_program: Make) -> None:
    def build(trt: Any, network: Any, x: Any) -> Any:
        scale = network.add_constant((), _floats(2)).get_output(0)
        coded = network.add_quantize(x, scale, trt.DataType.INT8).get_output(0)
        return network.add_dequantize(coded, scale, trt.DataType.FLOAT).get_output(0)

    program = network_program(build, x=("FLOAT", (4,)))
    assert program.run({"x": _floats(1, 3, -1000, 1000)})["y0"].tolist() == [0, 4, -256, 254]


def test_values_that_tensorrt_does_not_give_are_refused(network_program: Make) -> None:
    bits = np.zeros(2, np.int16)

    def build(trt: Any, network: Any, x: Any) -> Any:
        weights = trt.Weights(trt.DataType.BF16, bits.ctypes.data, 2)
        constant = network.add_constant((2,), weights).get_output(0)
        return network.add_elementwise(x, constant, trt.ElementWiseOperation.SUM).get_output(0)

    with pytest.raises(BackendUnavailable, match=r"type CONSTANT: got values of type BF16, which TensorRT gives no"):
        network_program(build, x=("BF16", (2,)))


def test_a_false_assertion_gives_no_value(network_program: Make) -> None:
    def build(trt: Any, network: Any, x: Any, holds: Any) -> Any:
        network.add_assertion(holds, "the batch is even")
        return network.add_unary(x, trt.UnaryOperation.NEG).get_output(0)

    program = network_program(build, x=("FLOAT", (2,)), holds=("BOOL", (1,)))
    feeds = {"x": _floats(1, 2), "holds": np.array([True])}
    assert program.run(feeds)["y0"].tolist() == [-1, -2]
    with pytest.raises(BackendError, match=r"type ASSERTION: got ValueError: a false assertion: the batch is even"):
        program.run(feeds | {"holds": np.array([False])})
