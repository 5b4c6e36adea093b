"""`-(-n // 4)` and other divisions of a size below zero: Python rounds them down, and ONNX's Div towards zero."""

import operator
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node
from torch.fx.experimental.symbolic_shapes import statically_known_true


def keep_floors(program: ExportedProgram) -> None:
    """Let every division of a size that may be below zero be one without remainder, in place: `(a - a % b) // b`.

    ONNX's Mod of integers has the divisor's sign, as Python's has (https://onnx.ai/onnx/operators/onnx__Mod.html).
    """
    for node in list(program.graph.nodes):
        if node.op == "call_function" and node.target is operator.floordiv and _may_be_negative(node.args[0]):
            _divide_without_remainder(program, node)
    program.graph_module.recompile()


def _may_be_negative(dividend: Any) -> bool:
    value = dividend.meta.get("val") if isinstance(dividend, Node) else dividend
    return isinstance(value, torch.SymInt) and not statically_known_true(value >= 0)


def _divide_without_remainder(program: ExportedProgram, node: Node) -> None:
    dividend, divisor = node.args
    assert isinstance(dividend, Node)
    with program.graph.inserting_before(node):
        rest = program.graph.call_function(operator.mod, (dividend, divisor))
        whole = program.graph.call_function(operator.sub, (dividend, rest))
    place = {key: value for key, value in node.meta.items() if key != "val"}
    value: Any = dividend.meta["val"]
    by: Any = divisor.meta["val"] if isinstance(divisor, Node) else divisor
    rest.meta, whole.meta = {**place, "val": value % by}, {**place, "val": value - value % by}
    node.update_arg(0, whole)
