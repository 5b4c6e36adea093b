"""`baked-time` and `baked-batch`: the sizes of the export's example, written into the graph as constants."""

from collections.abc import Iterator
from dataclasses import dataclass

from onnx import NodeProto

from rnnx.linting.findings import Finding, Severity
from rnnx.linting.rules.axes import BATCH, TIME, Axis
from rnnx.linting.rules.examined_model import ExaminedModel, ExaminedScope
from rnnx.linting.rules.fixed_lengths import InputLength, Length, freedom, input_lengths, is_one_step, is_something_else
from rnnx.linting.rules.reshaping import matched
from rnnx.linting.rules.scopes import attributes_of, is_onnx, shown
from rnnx.linting.rules.shape_values import shape_values

_RULES = {"T": "baked-time", "B": "baked-batch"}
_WORDS = {"T": "time", "B": "batch"}

_RESHAPED = (
    "at another length ONNX Runtime fails, or gives another shape without a word where the sizes happen to divide; "
    "TensorRT builds it and warns at most"
)
_REFUSED = "ONNX Runtime fails at another length, TensorRT builds it and warns at most"


@dataclass(frozen=True, kw_only=True)
class _Baked:
    """A constant length, the node that holds it, how it holds it, and what happens at another length."""

    length: Length
    node: str
    holding: str
    consequence: str


def find(model: ExaminedModel) -> Iterator[Finding]:
    """Every node, constant and input that fixes a time or batch length."""
    for found in input_lengths(model):
        if found.value is not None:
            yield _input_finding(model, found)
    if model.origin.is_traced:
        return  # its sizes are the model's own, such as a layer's directions; a trace that fixed one was refused
    for part in model.parts:
        for baked in (*_in_shapes(part), *_in_constants(part)):
            yield _finding(model, baked)
    yield from _declared_outputs(model)


def _in_shapes(part: ExaminedScope) -> Iterator[_Baked]:
    for node in part.scope.nodes:
        groups = _groups(part, node)
        target = shape_values(part.scope, node.input[-1]) if groups else None
        for axis, value in zip(groups or (), target or (), strict=False):
            length = _length(axis)
            if length is not None and value is not None and value > (1 if _keeps_ones(part, node) else 0):
                word = "time × batch" if length == "T" and len(axis) > 1 else _WORDS[length]
                holding = f"its shape {_shown_shape(target)} holds the {word} length {value}"
                yield _Baked(length=length, node=shown(node), holding=holding, consequence=_RESHAPED)


def _groups(part: ExaminedScope, node: NodeProto) -> tuple[Axis, ...] | None:
    """What each value of a node's shape input stands for, read from what goes in or else from what comes out."""
    if not is_onnx(node, "Reshape", "Expand", "ConstantOfShape"):
        return None
    target = shape_values(part.scope, node.input[-1])
    if node.op_type == "Reshape" and target is not None and node.input[0] in part.axes:
        return matched(part.axes[node.input[0]], target, keeps_zero=bool(attributes_of(node).get("allowzero")))
    return part.axes.get(node.output[0])


def _keeps_ones(part: ExaminedScope, node: NodeProto) -> bool:
    """Whether a 1 in a node's shape leaves a dim as it comes: in an Expand, of what is no constant."""
    return node.op_type == "Expand" and part.scope.tensor(node.input[0]) is None


def _in_constants(part: ExaminedScope) -> Iterator[_Baked]:
    """Constants in the place of a state or of a part of the sequence, such as zeros for the example's batch."""
    for name, tensor in part.scope.tensors.items():
        for axis, value in zip(part.axes.get(name, ()), tensor.dims, strict=False):
            length = _length(axis)
            if length is not None:
                readers = dict.fromkeys(shown(node) for node in part.scope.readers.get(name, ()))
                node = ", ".join(readers) or f"constant {name!r}"
                holding = f"its constant {name!r} {tuple(tensor.dims)} holds the {_WORDS[length]} length {value}"
                yield _Baked(length=length, node=node, holding=holding, consequence=_REFUSED)


def _length(axis: Axis) -> Length | None:
    """Which length an axis is; of joined time and batch it is time, for both are in it."""
    free = [atom.meaning for atom in axis if atom.size is None and atom.meaning in _RULES]
    return ("T" if "T" in free else "B") if free else None


def _finding(model: ExaminedModel, baked: _Baked) -> Finding:
    is_fixed = freedom(model, baked.length) == "fixed"
    consequence = "the model's inputs fix it too" if is_fixed else baked.consequence
    return Finding(
        rule=_RULES[baked.length],
        severity=_severity(model, baked.length),
        node=baked.node,
        message=f"{baked.holding} of the export's example: {consequence}",
        fix=_fix(baked.length),
    )


def _severity(model: ExaminedModel, length: Length) -> Severity:
    match freedom(model, length):
        case "free":
            return "error"
        case "unknown":
            return "warning"
    is_told = any(found.length == length for found in input_lengths(model)) and not is_something_else(model, length)
    return "warning" if is_told and not is_one_step(model, length) else "info"


def _fix(length: Length) -> str:
    if length == "T":
        return "export it with rnnx export, which keeps time free, or write 0 (copy the dim) in that place"
    return "give h0 and c0 as inputs with a dynamic batch, or export it with rnnx export, which keeps batch free"


def _input_finding(model: ExaminedModel, found: InputLength) -> Finding:
    word, axes = _WORDS[found.length], model.main.axes[found.name]
    is_on_purpose = is_one_step(model, found.length) or is_something_else(model, found.length)
    is_last = found.length == "T" and axes[-1] == TIME  # of (N, 21) the 21 may be bands, which have no other number
    return Finding(
        rule=_RULES[found.length],
        severity="info" if is_last or is_on_purpose else "warning",
        node=f"input {found.name!r}",
        message=f"its {word} length is fixed to {found.value}: every backend refuses another one",
        fix=f"export with a dynamic {word} axis, unless every call has {word} {found.value}",
    )


def _declared_outputs(model: ExaminedModel) -> Iterator[Finding]:
    """Outputs that promise a fixed length although nothing in the graph makes it so."""
    for value in model.proto.graph.output:
        axes, dims = model.main.axes.get(value.name, ()), model.main.scope.dims(value.name) or ()
        for axis, size in zip(axes, dims, strict=False):
            if axis in (TIME, BATCH) and size is not None:
                length: Length = "T" if axis == TIME else "B"
                if freedom(model, length) == "free":
                    yield Finding(
                        rule=_RULES[length],
                        severity="warning",
                        node=f"output {value.name!r}",
                        message=f"it declares the {_WORDS[length]} length {size} although the inputs leave it free: "
                        "ONNX Runtime warns at every other length, and a caller that allocates by it is wrong",
                        fix="declare that dim as free, or export it with rnnx export",
                    )


def _shown_shape(values: tuple[int | None, ...] | None) -> str:
    return "[" + ", ".join("?" if value is None else str(value) for value in values or ()) + "]"
