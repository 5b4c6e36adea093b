"""`int8-saturation` and `gru-not-quantized`: what int8 does to recurrences on CPU.

On AVX2 without VNNI, u8 × s8 products are added in pairs in 16 bits (`vpmaddubsw`), which overflow beyond
2 · 255 · 64; `reduce_range=True` of ONNX Runtime's quantizers keeps weights within ±64 for that reason.
"""

from collections.abc import Iterator
from pathlib import Path

from onnx import NodeProto, TensorProto

from rnnx.linting.findings import Finding
from rnnx.linting.rules.backends import ORT_CPU
from rnnx.linting.rules.examined_model import ExaminedModel
from rnnx.linting.rules.outside_values import values_of
from rnnx.linting.rules.scopes import Scope, is_onnx, shown

_SAFE = 64
_WEIGHT_PLACES = {
    "DynamicQuantizeLSTM": (1, 2),
    "MatMulInteger": (1,),
    "MatMulIntegerToFloat": (1,),
    "QLinearMatMul": (3,),
}


def find(model: ExaminedModel) -> Iterator[Finding]:
    """Every node whose int8 weights use more than ±64, and GRUs that stayed float beside int8."""
    quantized = False
    for part in model.parts:
        for node in part.scope.nodes:
            for name in _int8_weights(part.scope, node):
                quantized = True
                tensor = part.scope.tensor(name)
                largest = _largest(tensor, model.folder) if tensor is not None else None
                if largest is not None and largest > _SAFE:
                    yield _saturation(node, largest)
                    break
    floats = [layer for layer in model.layers if layer.operator == "GRU"]
    if quantized and floats:
        yield Finding(
            rule="gru-not-quantized",
            severity="info",
            node=floats[0].shown,
            message="the GRU is float beside int8 nodes: ONNX Runtime has no quantized GRU kernel, so it gains nothing",
            fix="measure with rnnx verify whether int8 pays for the rest",
            backends=ORT_CPU,
        )


def _saturation(node: NodeProto, largest: int) -> Finding:
    return Finding(
        rule="int8-saturation",
        severity="warning",
        node=shown(node),
        message=f"int8 weights up to ±{largest}: on AVX2 without VNNI the u8 × s8 products saturate (error of output "
        "0.22 instead of 0.011, measured at H=256)",
        fix="quantize with reduce_range=True, which keeps weights within ±64 at the same speed",
        backends=ORT_CPU,
    )


def _int8_weights(scope: Scope, node: NodeProto) -> Iterator[str]:
    """The int8 weights of a node that multiplies them with uint8 activations."""
    places = _WEIGHT_PLACES.get(node.op_type, ())
    names = [node.input[place] for place in places if place < len(node.input)]
    if is_onnx(node, "MatMul", "Gemm"):
        names = list(_dequantized(scope, node))
    for name in names:
        tensor = scope.tensor(name)
        if tensor is not None and tensor.data_type == TensorProto.INT8:
            yield name


def _dequantized(scope: Scope, node: NodeProto) -> Iterator[str]:
    """The weight in front of a DequantizeLinear, where the other factor comes from uint8."""
    sources = [scope.producer(name) for name in node.input[:2]]
    if all(source is not None and is_onnx(source, "DequantizeLinear") for source in sources):
        activations, weights = (source.input for source in sources if source is not None)
        maker = scope.producer(activations[0])
        zero = maker.input[2] if maker is not None and len(maker.input) > 2 else ""
        if not zero or scope.element_type(zero) == TensorProto.UINT8:
            yield weights[0]


def _largest(tensor: TensorProto, folder: Path | None) -> int | None:
    """The largest magnitude in an int8 weight; None where its values are not there or not as many as its shape says."""
    values = values_of(tensor, folder)
    return None if values is None else max(int(values.max(initial=0)), -int(values.min(initial=0)))
