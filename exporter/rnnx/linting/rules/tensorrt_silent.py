"""`tensorrt-silent`: nodes that TensorRT computes otherwise than ONNX says, without a word.

Found by evaluating the network that the importer of TensorRT for RTX 1.7 makes of ONNX's own tests
(`benchmarks/backend_tests.py`), and of their neighbours.
"""

from collections.abc import Iterator
from typing import Any

from onnx import NodeProto

from rnnx.linting.findings import Finding
from rnnx.linting.rules.backends import TENSORRT
from rnnx.linting.rules.examined_model import ExaminedModel
from rnnx.linting.rules.scopes import Scope, attributes_of, is_onnx, shown, subgraphs_of


def find(model: ExaminedModel) -> Iterator[Finding]:
    """Every node with attributes, or without them, that TensorRT reads as something else."""
    for part in model.parts:
        for node in part.scope.nodes:
            what = _otherwise(node) or _renamed(part.scope, node)
            if what:
                yield Finding(
                    rule="tensorrt-silent",
                    severity="warning",
                    node=shown(node),
                    message=f"{what}, and says nothing",
                    fix="compare with rnnx verify (the row tensorrt-network needs no GPU), or write it with other "
                    "operators",
                    backends=TENSORRT,
                )


def _otherwise(node: NodeProto) -> str:
    """How TensorRT computes a node otherwise than ONNX says; empty where it does not."""
    own = attributes_of(node)
    if is_onnx(node, "Trilu") and "upper" not in own:
        return "no attribute `upper`: TensorRT does not take ONNX's default, the upper triangle"
    if is_onnx(node, "MaxPool", "AveragePool", "LpPool") and own.get("ceil_mode") and _can_start_outside(own):
        return "ceil_mode=1 with padding or strides beyond the window: TensorRT keeps a last window that lies outside"
    if is_onnx(node, "Resize") and own.get("coordinate_transformation_mode") == b"pytorch_half_pixel":
        return "pytorch_half_pixel: where an axis comes to a single place, TensorRT reads another one"
    if is_onnx(node, "SpaceToDepth") and own.get("mode") == b"CRD":
        return "mode CRD: TensorRT orders the channels as DCR does"
    return ""


def _renamed(scope: Scope, node: NodeProto) -> str:
    """Whether a Loop takes its condition straight from an input, which then has its body's name for it."""
    if not is_onnx(node, "Loop") or scope.outer is not None or scope.graph is None or not node.input[1:]:
        return ""
    body = next(iter(subgraphs_of(node)), None)
    is_input = node.input[1] in {value.name for value in scope.graph.input} and node.input[1] not in scope.tensors
    if body is None or not is_input or len(body.input) < 2:
        return ""
    return f"its condition {node.input[1]!r} is an input: TensorRT calls the engine's input {body.input[1].name!r}"


def _can_start_outside(own: dict[str, Any]) -> bool:
    """Whether a window that rounding up adds can begin past the last value, where ONNX leaves it out."""
    size = list(own.get("kernel_shape", ()))
    strides = own.get("strides") or [1] * len(size)
    return any(own.get("pads", ())) or any(step > length for step, length in zip(strides, size, strict=False))
