"""`state-rounded`: a state that loses precision between one call and the next, or between two steps of a loop.

What an output loses once, a carried state loses at every step: rounding adds up, and what is clipped stays clipped.
"""

from collections.abc import Iterator

import numpy as np
from onnx import NodeProto, TensorProto, numpy_helper

from rnnx.linting.findings import Finding
from rnnx.linting.rules.examined_model import ExaminedModel
from rnnx.linting.rules.loop_bodies import states_of
from rnnx.linting.rules.recurrences import Recurrence
from rnnx.linting.rules.scopes import Scope, attributes_of, input_of, is_onnx, shown, type_name
from rnnx.linting.rules.state_ends import ends_of_state, origin_of_state

_HALF = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
_HANDING_ON = ("Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape", "Transpose", "QuantizeLinear", "DequantizeLinear")
_DEEPEST = 12


def find(model: ExaminedModel) -> Iterator[Finding]:
    """Every state that is carried from call to call or from step to step through fewer bits than it is computed in."""
    for part in model.parts:
        for layer in part.layers:
            yield from (_finding(part.scope, node) for node in _between_calls(layer) if _is_narrow(part.scope, node))
        for own in states_of(part.scope):
            nodes = _behind(part.scope, own.following)
            yield from (_finding(part.scope, node) for node in nodes if _is_narrow(part.scope, node))


def _between_calls(layer: Recurrence) -> Iterator[NodeProto]:
    """The nodes between a state's input and its layer, and between the layer and its output; both must be there."""
    if layer.element_type in _HALF:
        return
    for first, last in zip(layer.initial_states, layer.outputs[1:], strict=False):
        origin = origin_of_state(layer.scope, first) if first else None
        ends = list(ends_of_state(layer.scope, last)) if last else []
        if origin is not None and ends:
            yield from origin.passed
            yield from (node for end in ends for node in end.passed)


def _behind(scope: Scope, name: str) -> Iterator[NodeProto]:
    for _ in range(_DEEPEST):
        node = scope.producer(name)
        if node is None or not is_onnx(node, *_HANDING_ON):
            break
        yield node
        name = node.input[0]


def _is_narrow(scope: Scope, node: NodeProto) -> bool:
    to_half = is_onnx(node, "Cast") and attributes_of(node).get("to") in _HALF
    return is_onnx(node, "QuantizeLinear") or (to_half and scope.element_type(node.input[0]) not in _HALF)


def _finding(scope: Scope, node: NodeProto) -> Finding:
    if is_onnx(node, "Cast"):
        what = f"a state that is carried is rounded to {type_name(attributes_of(node)['to'])} here"
    else:
        what = f"a state that is carried is quantized here{_range(scope, node)}"
    return Finding(
        rule="state-rounded",
        severity="warning",
        node=shown(node),
        message=f"{what}, once for every call or step: the error adds up over a stream, on every backend",
        fix="leave the states out of the conversion (the quantizer's nodes_to_exclude, the float16 converter's "
        "node_block_list or keep_io_types), and verify over a long stream",
    )


def _range(scope: Scope, node: NodeProto) -> str:
    """The values that a quantizer's constants leave, such as `, clipped to -1.01 … 1`."""
    values = [_numbers(scope, input_of(node, place)) for place in (1, 2)]
    if values[0] is None or values[0].size != 1:
        return ""
    zero = scope.tensor(input_of(node, 2)) if input_of(node, 2) else None
    low, high = (-128, 127) if zero is not None and zero.data_type == TensorProto.INT8 else (0, 255)
    shift = float(values[1].ravel()[0]) if values[1] is not None and values[1].size == 1 else 0.0
    scale = float(values[0].ravel()[0])
    return f", clipped to {(low - shift) * scale:.3g} … {(high - shift) * scale:.3g}"


def _numbers(scope: Scope, name: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.generic]] | None":
    tensor = scope.tensor(name) if name else None
    if tensor is None or tensor.external_data:
        return None
    return np.asarray(numpy_helper.to_array(tensor))
