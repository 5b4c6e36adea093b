import numpy as np
import pytest
import torch

from rnnx.diagnosis.rounding import ROUNDINGS, Rounding, saturated_product

VALUES = np.random.default_rng(1).standard_normal(500) * 10.0 ** np.random.default_rng(2).integers(-3, 4, 500)


@pytest.mark.parametrize(("name", "dtype"), [("float16", torch.float16), ("bfloat16", torch.bfloat16)])
def test_half_formats_round_as_torch_does(name: str, dtype: torch.dtype) -> None:
    single = VALUES.astype(np.float32)
    expected = torch.from_numpy(single).to(dtype).double().numpy()
    np.testing.assert_array_equal(ROUNDINGS[name](single.astype(np.float64)), expected)


def test_float16_overflows_to_infinity_without_a_warning() -> None:
    assert np.isinf(ROUNDINGS["float16"](np.array([65_520.0]))).all()
    assert ROUNDINGS["float16"](np.array([65_504.0])) == 65_504


def test_tf32_keeps_eleven_bits_and_breaks_ties_to_even() -> None:
    rounded = ROUNDINGS["tf32"](VALUES)
    assert np.abs(rounded / VALUES - 1).max() <= 2.0**-11
    assert (rounded.astype(np.float32).view(np.uint32) & 0x1FFF == 0).all()
    assert ROUNDINGS["tf32"](np.array([1 + 2.0**-11])) == 1
    assert ROUNDINGS["tf32"](np.array([1 + 3 * 2.0**-11])) == 1 + 2 * 2.0**-10


def test_tf32_that_is_cut_off_is_never_larger() -> None:
    assert (np.abs(ROUNDINGS["tf32-truncated"](VALUES)) <= np.abs(VALUES.astype(np.float32))).all()


def test_dynamic_int8_is_onnx_runtimes() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in "xy")
    opset = helper.make_opsetid("", 17)
    made = helper.make_model(helper.make_graph(nodes, "int8", [x], [y]), opset_imports=[opset], ir_version=8)
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    single = np.random.default_rng(3).standard_normal(200).astype(np.float32)
    (expected,) = session.run(None, {"x": single})
    np.testing.assert_allclose(ROUNDINGS["int8"](single.astype(np.float64)), expected, atol=1e-6)


def test_int8_weights_are_symmetric_in_127_or_64_steps() -> None:
    weight = np.array([[1.0, -0.3], [0.004, 0.5]])
    for name, steps in (("int8", 127), ("int8 of 7 bits", 64)):
        rounding = Rounding(format=name, operands=frozenset(["weights"]))  # type: ignore[arg-type]
        assert np.abs(rounding.of_weight(weight) * steps - np.rint(weight * steps)).max() < 1e-12


def test_only_the_named_operands_are_rounded() -> None:
    rounding = Rounding(format="bfloat16", operands=frozenset(["inputs"]))
    assert (rounding.of("inputs", VALUES) != VALUES).any()
    assert rounding.of("states", VALUES) is VALUES
    assert rounding.of_weight(VALUES) is VALUES


def test_pairs_saturate_at_sixteen_bits() -> None:
    # 255·127 + 255·127 is 64,770 and becomes 32,767; of one product alone, 32,385, nothing is lost
    x, weight = np.array([[1.0, 1.0]]), np.array([[1.0, 1.0], [1.0, 0.0]])
    assert saturated_product(x, weight)[0] == pytest.approx([32_767 / (255 * 127), 1.0])


def test_a_product_that_does_not_saturate_is_the_rounded_one() -> None:
    chance = np.random.default_rng(4)
    x, weight = chance.standard_normal((3, 7)), chance.uniform(-1, 1, (4, 7)) * np.array([0.1] * 6 + [1])
    rounding = Rounding(format="int8", operands=frozenset(["weights"]))
    expected = ROUNDINGS["int8"](x) @ rounding.of_weight(weight).T
    np.testing.assert_allclose(saturated_product(x, weight), expected, atol=1e-12)
