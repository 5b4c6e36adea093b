"""Whether a model's parts are what ONNX demands, so that rules need not ask: a flipped bit can still be a protobuf."""

import functools
from collections.abc import Iterator
from math import prod

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, defs, helper, numpy_helper

from rnnx.linting.rules.claimed_sizes import claimed_sizes
from rnnx.linting.rules.inlining import EndlessError, refuse_endless
from rnnx.linting.rules.scopes import Scope, is_onnx, scopes_of, shown
from rnnx_runtime.printable import shown as printable

_LARGEST_OPSET = 10_000
"""Far beyond any that there will be, and within what onnx itself takes."""

_MOST_VALUES = 1024
"""Values up to which a constant is decoded: rules evaluate small ones alone."""


_MOST_DIMS = 64
"""Dims of a tensor; no backend has kernels for more than a few."""

_BELOW_A_BYTE = tuple(kind for name, kind in TensorProto.DataType.items() if name.endswith(("INT4", "INT2", "E2M1")))


def malformed_parts(model: ModelProto) -> Iterator[str]:
    """Every text, node and small constant that is not as ONNX defines it, in words."""
    texts = (model.producer_name, model.producer_version, *(entry.key for entry in model.graph.metadata_props))
    if not _are_texts(*texts, *(own.domain for own in model.opset_import)):
        yield "a text that is not UTF-8"
        return
    opset = next((own.version for own in model.opset_import if own.domain in ("", "ai.onnx")), 1)
    if not 0 <= opset <= _LARGEST_OPSET:
        yield f"opset {opset}"
        return
    nameless = sum(not node.op_type for node in model.graph.node)
    if nameless:  # before anything is made of each: such a node can be of two bytes
        yield f"{nameless} nodes without an operator"
        return
    try:
        refuse_endless(model)
        scopes = scopes_of(model)
    except EndlessError as error:  # before ONNX Runtime would write them out
        yield str(error)
        return
    except (TypeError, ValueError) as error:
        yield f"a graph that cannot be read ({error})"
        return
    for scope in scopes:
        yield from _malformed_names(scope)
        yield from _malformed_tensors(scope)
        yield from claimed_sizes(scope)
        is_of_function = _is_of_function(scope)
        for node in scope.nodes:
            yield from _malformed_node(node, opset)
            if not is_of_function and any(own.ref_attr_name for own in node.attribute):  # which ends TensorRT's parser
                yield f"{shown(node)} outside of a function, with an attribute that refers to a function's"


def _is_of_function(scope: Scope) -> bool:
    return scope.graph is None if scope.outer is None else _is_of_function(scope.outer)


def _malformed_names(scope: Scope) -> Iterator[str]:
    graph: GraphProto | None = scope.graph
    values = (*graph.input, *graph.output, *graph.value_info) if graph is not None else ()
    tensors = tuple(scope.tensors.values())
    if not _are_texts(*(part.name for part in (*values, *tensors))):
        yield "a name that is not UTF-8"


def _malformed_tensors(scope: Scope) -> Iterator[str]:
    for name, tensor in scope.tensors.items():
        if len(tensor.dims) > _MOST_DIMS:
            yield f"constant {printable(name)!r} of {len(tensor.dims)} dims"
        elif not _is_readable(tensor):
            yield f"constant {printable(name)!r} with other bytes than its shape {tuple(tensor.dims)} takes"


def _malformed_node(node: NodeProto, opset: int) -> Iterator[str]:
    names = (node.name, *node.input, *node.output, *(attribute.name for attribute in node.attribute))
    if not _are_texts(node.op_type, node.domain, *names, *(entry.key for entry in node.metadata_props)):
        yield "a node whose names are not UTF-8"
    elif is_onnx(node, node.op_type) and defs.has(node.op_type):
        yield from (f"{shown(node)} without {lack}" for lack in _lacks(node, opset))


def _lacks(node: NodeProto, opset: int) -> Iterator[str]:
    inputs, outputs, attributes = _demands(node.op_type, opset)
    yield from (f"input {name}" for name in inputs[len(node.input) :][:1])
    yield from (f"output {name}" for name in outputs[len(node.output) :][:1])
    given = {attribute.name: attribute for attribute in node.attribute}
    for name, kind, is_required in attributes:
        if is_required and name not in given:
            yield f"attribute {name}"
        elif name in given and not _is_of_type(given[name], kind):
            yield f"attribute {name} of its type"


_Attribute = tuple[str, defs.OpSchema.AttrType, bool]


@functools.lru_cache(maxsize=256)  # onnx makes every part of a schema anew each time that it is asked for
def _demands(operator: str, opset: int) -> tuple[tuple[str, ...], tuple[str, ...], tuple[_Attribute, ...]]:
    """The names of the inputs and of the outputs that an operator must have, and its attributes.

    They are as the opset has them; of an operator that is not of this opset yet, as the newest does.
    """
    try:
        schema = defs.get_schema(operator, opset)
    except defs.SchemaError:
        schema = defs.get_schema(operator)
    return (
        tuple(schema.inputs[min(place, len(schema.inputs) - 1)].name for place in range(schema.min_input)),
        tuple(schema.outputs[min(place, len(schema.outputs) - 1)].name for place in range(schema.min_output)),
        tuple((name, own.type, own.required) for name, own in schema.attributes.items()),
    )


def _is_of_type(attribute: AttributeProto, kind: defs.OpSchema.AttrType) -> bool:
    own = AttributeProto.AttributeType.Name(attribute.type)
    return bool(attribute.ref_attr_name) or getattr(defs.OpSchema.AttrType, own, None) == kind


def _is_readable(tensor: TensorProto) -> bool:
    if any(dim < 0 for dim in tensor.dims):
        return False
    if tensor.data_location == TensorProto.EXTERNAL:
        return True
    if prod(tensor.dims) > _MOST_VALUES:
        return _has_its_bytes(tensor)
    try:
        numpy_helper.to_array(tensor)
    except (TypeError, ValueError, KeyError):
        return False
    return True


def _has_its_bytes(tensor: TensorProto) -> bool:
    """Whether a tensor too large to be decoded for it has the values that its shape says; not of types below a byte."""
    try:
        bits = 8 * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except (KeyError, TypeError, ValueError):
        return False
    if not tensor.HasField("raw_data"):
        listed = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data, tensor.uint64_data)
        return any(listed) or len(tensor.string_data) == prod(tensor.dims)
    return 8 * len(tensor.raw_data) == bits * prod(tensor.dims) or tensor.data_type in _BELOW_A_BYTE


def _are_texts(*texts: object) -> bool:
    """Whether protobuf could decode every text; it gives bytes for one that it could not."""
    return all(isinstance(text, str) for text in texts)
