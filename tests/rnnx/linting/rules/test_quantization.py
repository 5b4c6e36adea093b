from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, external_data_helper, helper, numpy_helper
from tests.rnnx.linting.rules.conftest import Told

from rnnx.linting.examination import examine
from rnnx.linting.findings import Finding


def multiplied(largest: int, kind: type[np.signedinteger | np.unsignedinteger] = np.int8) -> ModelProto:
    """x as uint8 times int8 weights whose largest magnitude is `largest`, negative."""
    weight = numpy_helper.from_array(np.array([[-largest], [largest - 1]]).astype(kind), "w")
    x = helper.make_tensor_value_info("x", TensorProto.UINT8, ["B", 2])
    y = helper.make_tensor_value_info("y", TensorProto.INT32, ["B", 1])
    node = helper.make_node("MatMulInteger", ["x", "w"], ["y"], name="product")
    return helper.make_model(helper.make_graph([node], "g", [x], [y], [weight]))


def saturations(model: ModelProto, folder: Path | None = None) -> list[Finding]:
    return [own for own in examine(model, folder) if own.rule == "int8-saturation"]


@pytest.mark.parametrize(("largest", "found"), [(64, False), (65, True), (127, True), (128, True)])
def test_weights_beyond_64_may_saturate(largest: int, found: bool) -> None:
    own = saturations(multiplied(largest))
    assert [(one.severity, one.node, one.backends) for one in own] == (
        [("warning", "MatMulInteger 'product'", ("ort-cpu",))] if found else []
    )
    assert all(f"±{largest}" in one.message for one in own)


def test_uint8_weights_do_not(told: Told) -> None:
    assert saturations(multiplied(127, np.uint8)) == []


@pytest.mark.parametrize("there", [True, False])
def test_weights_in_a_file_of_their_own_are_read_where_it_is(tmp_path: Path, there: bool) -> None:
    model = multiplied(127)
    external_data_helper.convert_model_to_external_data(model, location="w.bin", size_threshold=0)
    external_data_helper.write_external_data_tensors(model, str(tmp_path))
    if not there:
        (tmp_path / "w.bin").unlink()
    assert len(saturations(model, tmp_path)) == there
    assert saturations(model) == []


@pytest.mark.parametrize(("zero", "found"), [("uint8", True), ("int8", False)])
def test_a_product_between_quantizers_is_judged_by_its_activations(told: Told, zero: str, found: bool) -> None:
    text = f"""g (float[B,2] x) => (float[B,1] y)
        <float s = {{1}}, {zero} z = {{0}}, int8 z8 = {{0}}, int8[2,1] w = {{127, -3}}> {{
            q = QuantizeLinear (x, s, z)
            a = DequantizeLinear (q, s, z)
            b = DequantizeLinear (w, s, z8)
            [product] y = MatMul (a, b) }}"""
    assert [own.node for own in told(text, "int8-saturation")] == ["MatMul 'product'"] * found


@pytest.mark.parametrize("quantized", [True, False])
def test_a_gru_that_stays_float_beside_int8_is_told(told: Told, quantized: bool) -> None:
    product = "[product] p = MatMulInteger (u, q)" if quantized else ""
    text = f"""g (float[T,B,5] x, float[1,24,5] w, float[1,24,8] r, uint8[B,2] u) => (float[T,1,B,8] y)
        <int8[2,1] q = {{1, 2}}> {{
            {product}
            [rnn] y = GRU <hidden_size = 8, linear_before_reset = 1> (x, w, r) }}"""
    assert [own.node for own in told(text, "gru-not-quantized")] == ["GRU 'rnn'"] * quantized
