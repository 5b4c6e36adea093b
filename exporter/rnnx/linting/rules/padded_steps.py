"""`padding-read` and `backward-start`: the last step, or a mean over time, of an output that does not end there.

Past a row's length ONNX's Y is zero; the backward half of the last step has seen that step alone.
"""

from collections.abc import Iterator
from typing import Literal

from onnx import NodeProto

from rnnx.linting.findings import Finding
from rnnx.linting.rules.axes import TIME, axis_at
from rnnx.linting.rules.examined_model import ExaminedModel, ExaminedScope
from rnnx.linting.rules.fixed_lengths import is_one_step
from rnnx.linting.rules.recurrences import Recurrence
from rnnx.linting.rules.scopes import Scope, attributes_of, input_of, is_onnx, shown
from rnnx.linting.rules.time_order import backward_tensors

Reading = Literal["last", "mean", "largest"]

_REDUCTIONS: dict[str, Reading] = {"ReduceMean": "mean", "ReduceMax": "largest"}
_KEEPING = (
    "Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape", "Transpose", "Dropout", "Relu", "Sigmoid", "Tanh",
    "LeakyRelu", "Elu", "Gelu", "Softmax", "LogSoftmax", "LayerNormalization",
)  # fmt: skip
_WITH_WEIGHTS = ("MatMul", "Add", "Sub", "Mul", "Div")
"""What works on each step alone where the other operand is a constant; where it is none, it may be a mask."""


def find(model: ExaminedModel) -> Iterator[Finding]:
    """Every node that reads an output's last step or all of its time, behind a layer with lengths or two directions."""
    if model.origin.is_traced or is_one_step(model, "T"):
        return  # the model itself reads it so
    for part in model.parts:
        for layer in part.layers:
            for node in _readers(part, layer.outputs[0]):
                reading = _reading(part, node)
                if reading and layer.sequence_lens:
                    yield _padded(node, layer, reading)
                elif reading == "last" and layer.directions == 2:
                    yield _backward(node, f"the bidirectional {layer.shown}")
        turned_back = backward_tensors(part)[1]
        for node in part.scope.nodes:
            if node.input and node.input[0] in turned_back and _reading(part, node) == "last":
                yield _backward(node, f"{node.input[0]!r}, which holds a pass that was turned back")


def _readers(part: ExaminedScope, name: str) -> Iterator[NodeProto]:
    """The nodes that read an output, behind nodes that arrange it or change each step alone."""
    seen, waiting = {name}, [name] if name else []
    while waiting:
        for node in part.scope.readers.get(waiting.pop(), ()):
            yield node
            if _is_stepwise(part.scope, node) and node.output[0] not in seen:
                seen.add(node.output[0])
                waiting.append(node.output[0])


def _is_stepwise(scope: Scope, node: NodeProto) -> bool:
    varying = [name for name in node.input if scope.tensor(name) is None]
    return is_onnx(node, *_KEEPING) or (is_onnx(node, *_WITH_WEIGHTS) and len(varying) == 1)


def _reading(part: ExaminedScope, node: NodeProto) -> Reading | None:
    axes, scope = part.axes.get(node.input[0]), part.scope
    if axes is None:
        return None
    if is_onnx(node, "Gather"):
        is_last = scope.ints(input_of(node, 1)) == (-1,)
        return "last" if is_last and axis_at(axes, attributes_of(node).get("axis", 0)) == TIME else None
    if is_onnx(node, "Slice"):
        starts, places = scope.ints(input_of(node, 1)) or (), scope.ints(input_of(node, 3)) or ()
        cut = [axis_at(axes, place) for start, place in zip(starts, places, strict=False) if start == -1]
        return "last" if TIME in cut else None
    if is_onnx(node, *_REDUCTIONS):
        over = attributes_of(node).get("axes") or scope.ints(input_of(node, 1)) or ()
        return _REDUCTIONS[node.op_type] if TIME in [axis_at(axes, place) for place in over] else None
    return None


def _padded(node: NodeProto, layer: Recurrence, reading: Reading) -> Finding:
    what = {
        "last": "it takes the last step, which is zero for every row that is shorter than the longest",
        "mean": "it takes the mean over all steps, and divides a short row's sum by the longest row's length",
        "largest": "it takes the largest over all steps, and of a short row never less than the zeros of its padding",
    }
    return Finding(
        rule="padding-read",
        severity="warning",
        node=shown(node),
        message=f"{layer.shown} is given lengths and {what[reading]}",
        fix="take hn, which is each row's own last step, or mask and divide by the lengths",
    )


def _backward(node: NodeProto, what: str) -> Finding:
    return Finding(
        rule="backward-start",
        severity="info",
        node=shown(node),
        message=f"it takes the last step of {what}: the backward half there has seen one step alone, not the sequence",
        fix="take hn of both directions, unless the model was trained so",
    )
