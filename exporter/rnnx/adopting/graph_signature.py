"""A graph's inputs and outputs as a contract has them: dtypes, dims, and names that a contract can hold."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onnx import ModelProto, ValueInfoProto, shape_inference

from rnnx.errors import AdoptionError
from rnnx.linting.declared_tensors import GraphDims, dims_of, dtype_of, inputs_of
from rnnx.linting.light_models import light_model
from rnnx.linting.rules.scopes import type_name
from rnnx_runtime.contract import Dim, TensorSpec
from rnnx_runtime.contract_json import DTYPES, LONGEST_DIM, MOST_AXES, is_size
from rnnx_runtime.printable import shown

_LONGEST_NAME = 200

LARGEST_INFERRED = 2**30
"""Bytes of a graph whose shapes are inferred: that takes a copy of it, and fails beyond what a protobuf holds."""


@dataclass(frozen=True, kw_only=True)
class GraphSignature:
    """Inputs and outputs under their names in a contract; `theirs` has the graph's name of each.

    Free dims without a name are called `?1`, `?2` … here, until what they are is known.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    theirs: Mapping[str, str]

    @property
    def renamed(self) -> dict[str, str]:
        """The names that could not stay, by the graph's."""
        return {theirs: ours for ours, theirs in self.theirs.items() if ours != theirs}


def graph_signature(model: ModelProto, subject: str) -> GraphSignature:
    """Read a graph's signature; what it does not declare is inferred, as far as ONNX can.

    Raises:
        AdoptionError: an input or output is no tensor, or of a dtype or rank that no contract has.
    """
    inputs, outputs = inputs_of(model), list(model.graph.output)
    for side, values in (("inputs", inputs), ("outputs", outputs)):
        if not values:
            raise _unfit(subject, "graph", "", f"no {side}", "a graph that is given something and gives something")
    known = _inferred(model) if any(map(_is_vague, (*inputs, *outputs))) else {}
    names = _Names()
    ours = [names.own(value.name, side) for side, value in _sides(inputs, outputs)]
    specs = [
        _spec(value, known.get(value.name), own, side, subject, names)
        for own, (side, value) in zip(ours, _sides(inputs, outputs), strict=True)
    ]
    return GraphSignature(
        inputs=tuple(specs[: len(inputs)]),
        outputs=tuple(specs[len(inputs) :]),
        theirs={own: value.name for own, (_, value) in zip(ours, _sides(inputs, outputs), strict=True)},
    )


def is_unnamed(dim: Dim) -> bool:
    """Whether a free dim has no name of its own."""
    return isinstance(dim, str) and (dim.startswith("?") or re.fullmatch(r"unk__\d+|s\d+", dim) is not None)


def as_identifier(name: str, otherwise: str) -> str:
    """A name as a contract can hold it: `input.1` as `input_1`, `387` as `output_387`."""
    found = re.sub(r"\W", "_", name, flags=re.ASCII).strip("_")[: LONGEST_DIM - 32] or otherwise
    return found if found.isidentifier() else f"{otherwise}_{found}"


class _Names:
    """Names that are given once, and numbers for dims without one."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._free = 0

    def own(self, name: str, side: str) -> str:
        found = name if name.isidentifier() and len(name) <= LONGEST_DIM else as_identifier(name, side)
        while found in self._taken:
            found += f"_{side}" if not found.endswith(side) else "_"
        self._taken.add(found)
        return found

    def dim(self) -> str:
        self._free += 1
        return f"?{self._free}"


def _sides(inputs: Iterable[ValueInfoProto], outputs: Iterable[ValueInfoProto]) -> Iterator[tuple[str, Any]]:
    yield from (("input", value) for value in inputs)
    yield from (("output", value) for value in outputs)


def _spec(
    value: ValueInfoProto, inferred: GraphDims | None, name: str, side: str, subject: str, names: _Names
) -> TensorSpec:
    kind = value.type.tensor_type
    dtype = dtype_of(value)
    if value.type.WhichOneof("value") not in ("tensor_type", None) or dtype not in DTYPES:
        what = value.type.WhichOneof("value") or "tensor_type"
        element = type_name(kind.elem_type) if what == "tensor_type" else what.removesuffix("_type")
        raise _unfit(subject, side, value.name, f"it of {element}", f"a tensor of {', '.join(DTYPES)}")
    declared = dims_of(value)
    dims = _joined(declared, inferred)
    if dims is None:
        got = "it without a shape, and none can be inferred"
        raise _unfit(subject, side, value.name, got, "an input or output that says how many axes it has")
    if len(dims) > MOST_AXES:
        raise _unfit(subject, side, value.name, f"{len(dims)} axes", f"at most {MOST_AXES}")
    own = tuple(names.dim() if dim is None or not (isinstance(dim, str) or is_size(dim)) else dim for dim in dims)
    return TensorSpec(name=name, dtype=dtype, dims=own)


def _joined(declared: GraphDims | None, inferred: GraphDims | None) -> GraphDims | None:
    """The declared dims, and the inferred ones where those say a size or a name that the declared leave out."""
    if declared is None or inferred is None or len(declared) != len(inferred):
        return declared if declared is not None else inferred
    return tuple(
        other if isinstance(other, int) or (own is None and other is not None) else own
        for own, other in zip(declared, inferred, strict=True)
    )


def _is_vague(value: ValueInfoProto) -> bool:
    dims = dims_of(value)
    return dims is None or any(not isinstance(dim, int) for dim in dims)


def _inferred(model: ModelProto) -> dict[str, GraphDims | None]:
    """The dims of outputs that ONNX infers; none of a graph that is too large, or that it cannot follow."""
    if model.ByteSize() > LARGEST_INFERRED:
        return {}
    try:
        found = shape_inference.infer_shapes(light_model(model))
    except Exception:  # of graphs that ONNX Runtime may take all the same, and of other domains
        return {}
    declared: Sequence[ValueInfoProto] = found.graph.output
    return {value.name: _named_dims(dims_of(value)) for value in declared}


def _named_dims(dims: GraphDims | None) -> GraphDims | None:
    """Names that inference itself makes say nothing."""
    return None if dims is None else tuple(None if str(dim).startswith("unk__") else dim for dim in dims)


def _unfit(subject: str, side: str, name: str, got: str, expected: str) -> AdoptionError:
    remedy = "cut that part off the graph, with onnx.utils.extract_model, or convert it inside"
    what = f"{side} {shown(name, _LONGEST_NAME)!r}" if name else side
    return AdoptionError(f"{what} of {subject}", got=got, expected=expected, remedy=remedy)
