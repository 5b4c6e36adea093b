"""`training-mode`: nodes that were left as they train, so that two calls give two results."""

from collections.abc import Iterator

import numpy as np
from onnx import NodeProto, numpy_helper

from rnnx.linting.findings import Finding
from rnnx.linting.rules.examined_model import ExaminedModel
from rnnx.linting.rules.scopes import Scope, attributes_of, input_of, is_onnx, shown


def find(model: ExaminedModel) -> Iterator[Finding]:
    """Every Dropout and BatchNormalization in training mode."""
    for part in model.parts:
        for node in part.scope.nodes:
            if _drops(part.scope, node) or _normalizes_by_batch(node):
                yield Finding(
                    rule="training-mode",
                    severity="error",
                    node=shown(node),
                    message=f"{node.op_type} in training mode: ONNX Runtime computes it so, and results change from "
                    "call to call or with the batch",
                    fix="take the Dropout out, or set training_mode to 0; in PyTorch call module.eval() before the "
                    "export",
                )


def _drops(scope: Scope, node: NodeProto) -> bool:
    """Whether a Dropout is switched on: its third input is a constant True and its ratio is not a constant 0."""
    if not is_onnx(node, "Dropout"):
        return False
    mode, ratio = (_scalar(scope, input_of(node, place)) for place in (2, 1))
    return bool(mode) and ratio != 0


def _normalizes_by_batch(node: NodeProto) -> bool:
    return is_onnx(node, "BatchNormalization") and bool(attributes_of(node).get("training_mode"))


def _scalar(scope: Scope, name: str) -> float | None:
    tensor = scope.tensor(name) if name else None
    return float(np.ravel(numpy_helper.to_array(tensor))[0]) if tensor is not None else None
