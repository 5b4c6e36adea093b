"""ELU written as SELU: TensorRT RTX 1.7 builds no engine with two Elu nodes behind an LSTM, and does with Selu.

SELU is `gamma * (max(0, x) + min(0, alpha * exp(x) - alpha))`, with gamma 1 that is ELU.
https://onnx.ai/onnx/operators/onnx__Selu.html
"""

import onnx_ir as ir


def write_elus_as_selus(model: ir.Model) -> None:
    """Replace every Elu of a graph that has several, in place; one alone builds."""
    found = [node for node in model.graph if node.op_type == "Elu"]
    for node in found if len(found) > 1 else ():
        alpha = node.attributes.get("alpha")
        node.op_type = "Selu"
        node.attributes["alpha"] = ir.AttrFloat32("alpha", 1.0 if alpha is None else alpha.as_float())
        node.attributes["gamma"] = ir.AttrFloat32("gamma", 1.0)
