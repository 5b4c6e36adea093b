"""`tensorrt-refused` and `tensorrt-silent` of quantization, which TensorRT has in int8 around zero alone.

ONNX Runtime's quantizers write uint8 activations by default; TensorRT knows int8 with a zero point of 0. It refuses
another zero point, and takes uint8 with a zero point of 0 for int8: what is above 127 steps is clipped.
"""

from collections.abc import Iterator

import numpy as np
from onnx import NodeProto, TensorProto, numpy_helper

from rnnx.linting.findings import Finding
from rnnx.linting.rules.backends import TENSORRT
from rnnx.linting.rules.examined_model import ExaminedModel
from rnnx.linting.rules.scopes import Scope, attributes_of, input_of, is_onnx, shown
from rnnx.linting.rules.tensorrt_operators import refusal


def find(model: ExaminedModel) -> Iterator[Finding]:
    """Every node with such a zero point."""
    for part in model.parts:
        for node in part.scope.nodes:
            if is_onnx(node, "QuantizeLinear", "DequantizeLinear"):
                if _is_shifted(part.scope, input_of(node, 2)):
                    yield refusal(node, "its zero point is not 0: TensorRT RTX has quantization around zero alone")
                elif is_onnx(node, "DequantizeLinear") and part.scope.tensor(node.input[0]) is not None:
                    if part.scope.element_type(node.input[0]) == TensorProto.UINT8:
                        yield refusal(node, "its weights are uint8: TensorRT RTX reads int8 alone")
                elif _is_unsigned(part.scope, node):
                    yield _unsigned(node)


def _is_shifted(scope: Scope, name: str) -> bool:
    tensor = scope.tensor(name) if name else None
    if tensor is None or tensor.external_data or tensor.data_type not in (TensorProto.UINT8, TensorProto.INT8):
        return False
    return bool(np.any(numpy_helper.to_array(tensor)))


def _is_unsigned(scope: Scope, node: NodeProto) -> bool:
    """Whether a node quantizes to uint8, which is also what it does where it says nothing."""
    if not is_onnx(node, "QuantizeLinear"):
        return False
    zero = input_of(node, 2)
    kind = scope.element_type(zero) if zero else attributes_of(node).get("output_dtype") or TensorProto.UINT8
    return kind == TensorProto.UINT8


def _unsigned(node: NodeProto) -> Finding:
    return Finding(
        rule="tensorrt-silent",
        severity="warning",
        node=shown(node),
        message="it quantizes to uint8, which TensorRT takes for int8 and says nothing: what is above 127 steps is "
        "clipped there, and what is below 0 is not",
        fix="quantize with symmetric int8 (activation_type=QInt8 and ActivationSymmetric)",
        backends=TENSORRT,
    )
