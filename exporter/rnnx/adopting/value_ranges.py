"""What a graph itself says of its integer inputs: rows of a table that they look up, lengths, a number they must be."""

from collections.abc import Mapping, Sequence

from rnnx.adopting.handed_values import HandedValues, Value
from rnnx.linting.rules.recurrences import recurrences_of
from rnnx.linting.rules.scopes import Scope, attributes_of, input_of, is_onnx
from rnnx_runtime.contract import LARGEST_SIZE, TensorSpec

_COMPARING = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")


def table_sizes(handed: HandedValues, inputs: Sequence[TensorSpec], theirs: Mapping[str, str]) -> dict[str, int]:
    """The rows of the smallest table that each integer input looks rows up in."""
    reached = _integers(handed, inputs, theirs)
    found: dict[str, int] = {}
    for scope in handed.scopes:
        for node in scope.nodes:
            rows = (
                _table_rows(scope, node.input[0], int(attributes_of(node).get("axis", 0)))
                if is_onnx(node, "Gather")
                else 0
            )
            for name, values in reached.items() if rows else ():
                if handed.value(scope, node.input[1]) in values:
                    found[name] = min(rows, found.get(name, rows))
    return found


def length_inputs(handed: HandedValues, inputs: Sequence[TensorSpec], theirs: Mapping[str, str]) -> tuple[str, ...]:
    """The integer vectors that reach the sequence_lens of a recurrent node."""
    reached = _integers(handed, [spec for spec in inputs if len(spec.dims) == 1], theirs)
    ends = {
        handed.value(scope, layer.sequence_lens)
        for scope in handed.scopes
        for layer in recurrences_of(scope)
        if layer.sequence_lens
    }
    return tuple(name for name, values in reached.items() if values & ends)


def compared_values(
    handed: HandedValues, inputs: Sequence[TensorSpec], theirs: Mapping[str, str]
) -> dict[str, tuple[int, ...]]:
    """The constants that an integer input is compared with, such as a sampling rate's 16000."""
    reached = _integers(handed, inputs, theirs)
    found: dict[str, dict[int, None]] = {name: {} for name in reached}
    for scope in handed.scopes:
        for node in (node for node in scope.nodes if is_onnx(node, *_COMPARING)):
            for own, other in (node.input[:2], node.input[1::-1]):
                values = scope.ints(other)
                for name, tensors in reached.items() if values and len(values) == 1 else ():
                    if handed.value(scope, own) in tensors:
                        found[name] |= dict.fromkeys(values or ())
    return {name: tuple(values) for name, values in found.items() if values}


def _integers(handed: HandedValues, inputs: Sequence[TensorSpec], theirs: Mapping[str, str]) -> dict[str, set[Value]]:
    return {spec.name: handed.reached_from(theirs[spec.name]) for spec in inputs if spec.dtype in ("int32", "int64")}


def _table_rows(scope: Scope, name: str, axis: int) -> int:
    """The size of a constant along an axis, if it holds floats; 0 of anything else."""
    tensor = scope.tensor(name)
    if tensor is None and (node := scope.producer(name)) is not None and is_onnx(node, "DequantizeLinear"):
        tensor = scope.tensor(input_of(node, 0))
    if tensor is None or not tensor.dims or not -len(tensor.dims) <= axis < len(tensor.dims):
        return 0
    rows = int(tensor.dims[axis])
    return rows if 1 < rows <= LARGEST_SIZE and len(tensor.dims) > 1 else 0
