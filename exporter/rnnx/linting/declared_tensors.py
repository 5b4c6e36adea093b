"""What goes into a graph and comes out of it, as the graph itself declares it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnnx.errors import OptionError
from rnnx_runtime.contract_json import LONGEST_DIM

LARGEST_FIXED = 2**16
"""A time or a batch that a graph fixes; cases are made of that size, and their truth computed."""

_DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    16: "bfloat16",
}
"""ONNX's element types (TensorProto.DataType) of which recurrent graphs have inputs and outputs."""

GraphDims = tuple[int | str | None, ...]
"""Dims as a graph says them: None is a free one without a name."""

GraphTensor = tuple[str, GraphDims | None]
"""A graph input or output: its NumPy dtype, and its dims (None where the graph declares no shape)."""


def signature_of(proto: Any) -> tuple[dict[str, GraphTensor], dict[str, GraphTensor]]:
    """The inputs and the outputs of a model's graph by name, in its order."""
    inputs = {value.name: (dtype_of(value), dims_of(value)) for value in inputs_of(proto)}
    return inputs, {value.name: (dtype_of(value), dims_of(value)) for value in proto.graph.output}


def inputs_of(proto: Any) -> list[Any]:
    """What a call gives a model's graph; a weight that is listed among its inputs is none."""
    weights = {tensor.name for tensor in proto.graph.initializer}
    return [value for value in proto.graph.input if value.name not in weights]


def dtype_of(value: Any) -> str:
    """A value's NumPy dtype; `ONNX type N` of one that no recurrent graph has."""
    kind = value.type.tensor_type.elem_type
    return _DTYPES.get(kind, f"ONNX type {kind}")


def dims_of(value: Any) -> GraphDims | None:
    """The dims that a value declares; 0 and less, which some exporters write for a free one, is one without a name."""
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return None
    return tuple(
        (dim.dim_value if dim.dim_value > 0 else None)
        if dim.HasField("dim_value")
        else dim.dim_param[:LONGEST_DIM] or None
        for dim in kind.shape.dim
    )


def refuse_vast(path: Path, fixed: Mapping[str, int]) -> None:
    """Refuse a graph that fixes a free dim at what no case can have; raises OptionError."""
    for dim, size in fixed.items():
        if not 1 <= size <= LARGEST_FIXED:
            raise OptionError(
                f"the inputs of {path.name}",
                got=f"{dim} fixed at {size}",
                expected=f"a size from 1 to {LARGEST_FIXED}, or a free one",
                remedy="export it with that dim free",
            )


def shape_text(dims: GraphDims | None) -> str:
    """Dims as people write them, a question mark for one that the graph leaves open."""
    if dims is None:
        return "any shape"
    return f"({', '.join('?' if dim is None else str(dim) for dim in dims)}{',' if len(dims) == 1 else ''})"
