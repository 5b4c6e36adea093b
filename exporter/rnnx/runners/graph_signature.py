"""What goes into a graph and comes out of it, as the graph itself declares it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnnx.errors import OptionError

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

GraphTensor = tuple[str, tuple[int | str | None, ...] | None]
"""A graph input or output: its NumPy dtype, and its dims (None where the graph declares no shape)."""


def signature_of(proto: Any) -> tuple[dict[str, GraphTensor], dict[str, GraphTensor]]:
    """The inputs and the outputs of a model's graph by name, in its order; a weight that is listed is no input."""
    weights = {tensor.name for tensor in proto.graph.initializer}
    inputs = {value.name: _tensor(value) for value in proto.graph.input if value.name not in weights}
    return inputs, {value.name: _tensor(value) for value in proto.graph.output}


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


def shape_text(dims: tuple[int | str | None, ...] | None) -> str:
    """Dims as people write them, a question mark for one that the graph leaves open."""
    if dims is None:
        return "any shape"
    return f"({', '.join('?' if dim is None else str(dim) for dim in dims)}{',' if len(dims) == 1 else ''})"


def _tensor(value: Any) -> GraphTensor:
    kind = value.type.tensor_type
    dtype = _DTYPES.get(kind.elem_type, f"ONNX type {kind.elem_type}")
    if not kind.HasField("shape"):
        return dtype, None
    dims = (dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None for dim in kind.shape.dim)
    return dtype, tuple(dims)
