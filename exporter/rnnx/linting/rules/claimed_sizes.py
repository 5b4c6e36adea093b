"""Sizes that a graph claims by constants alone: a file of a kilobyte can ask a backend for terabytes."""

import math
from collections.abc import Callable, Iterator, Mapping

from onnx import NodeProto, TensorProto, numpy_helper

from rnnx.linting.rules.scopes import Scope, attributes_of, input_of, is_onnx, shown

MOST_CLAIMED = 2**24
"""Values of a tensor that a node may make of constants: 64 MiB of float32."""

_MOST_READ = 64
"""Values of a constant that can be a shape."""

_Constant = Callable[[str], "list[float] | None"]


def claimed_sizes(scope: Scope) -> Iterator[str]:
    """Each node that makes more values of constants than any mask or table has, in words."""

    def constant(name: str) -> list[float] | None:
        return _values(scope.tensor(name)) if name else None

    for node in scope.nodes:
        claim = next((size for operator, size in _CLAIMS.items() if is_onnx(node, operator)), None)
        count = claim(node, constant) if claim else 0
        if count > MOST_CLAIMED:
            yield f"{shown(node)}, which makes {count:.3g} values of constants"


def _of_shape(place: int) -> Callable[[NodeProto, _Constant], float]:
    return lambda node, constant: _product(constant(input_of(node, place)))


def _of_attribute(node: NodeProto, _constant: _Constant) -> float:
    return _product(attributes_of(node).get("shape"))


def _of_range(node: NodeProto, constant: _Constant) -> float:
    ends = [constant(input_of(node, place)) for place in range(3)]
    if not all(ends):
        return 0
    start, limit, delta = (own[0] for own in ends if own)
    return max(0.0, (limit - start) / delta) if delta else 0


def _of_depth(node: NodeProto, constant: _Constant) -> float:
    return _product(constant(input_of(node, 1)))


def _of_pads(node: NodeProto, constant: _Constant) -> float:
    return sum(abs(own) for own in constant(input_of(node, 1)) or ())


_CLAIMS: Mapping[str, Callable[[NodeProto, _Constant], float]] = {
    "ConstantOfShape": _of_shape(0),
    "Expand": _of_shape(1),
    "Tile": _of_shape(1),
    "Range": _of_range,
    "OneHot": _of_depth,
    "Pad": _of_pads,
    "RandomNormal": _of_attribute,
    "RandomUniform": _of_attribute,
}
"""What each operator makes of its constants, at the least."""


def _product(dims: "list[float] | None") -> float:
    return math.prod(max(abs(float(dim)), 1.0) for dim in dims) if dims else 0


def _values(tensor: TensorProto | None) -> list[float] | None:
    if tensor is None or tensor.data_location == TensorProto.EXTERNAL or not 0 <= math.prod(tensor.dims) <= _MOST_READ:
        return None
    return [float(value) for value in numpy_helper.to_array(tensor).ravel()]
