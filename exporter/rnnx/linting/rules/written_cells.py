"""LSTM, GRU and plain RNN steps that are written out as MatMul, Sigmoid and Tanh instead of one recurrent node.

Told by how the gates meet: LSTM `c' = f·c + i·g, h' = o·tanh(c')`; GRU `h' = (1 - z)·n + z·h` or `n + z·(h - n)` with
the reset gate inside n's tanh; a plain RNN by two products of one weight, the second of what the first became, or by
one of a loop's state that becomes that state. A gate may be a hard sigmoid, which is a Clip of a line.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from onnx import NodeProto

from rnnx.linting.rules.loop_bodies import handed_from, states_of
from rnnx.linting.rules.scopes import Scope, is_onnx

_ARRANGING = ("Identity", "Cast", "Split", "Slice", "Squeeze", "Unsqueeze", "Reshape", "Transpose", "Gather")
_GATES = ("Sigmoid", "HardSigmoid", "Clip")
_LEAVES = (*_GATES, "Tanh", "MatMul", "Gemm")
_DEEPEST = 6
"""Nodes between a gate and where it is used: more are another calculation."""


@dataclass(frozen=True, kw_only=True, eq=False)
class WrittenCell:
    """One step of an LSTM, GRU or RNN, by the node that makes its new h, and an LSTM's also by that of its new c."""

    operator: str
    node: NodeProto
    cell_state: NodeProto | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class _Traced:
    """A scope, with what was found under its tensors and nodes: sums share their parts, and each is looked at once."""

    scope: Scope
    origins: dict[str, NodeProto | None] = field(default_factory=dict)
    leaves: dict[tuple[int, int], tuple[NodeProto, ...]] = field(default_factory=dict)


def written_cells(scope: Scope) -> tuple[WrittenCell, ...]:
    """Every written-out step of a scope, subgraphs not included."""
    traced = _Traced(scope=scope)
    lstms = list(_lstm_steps(traced))
    taken = {name for _, cell_state in lstms for name in cell_state.output}
    return (
        *(WrittenCell(operator="LSTM", node=node, cell_state=cell_state) for node, cell_state in lstms),
        *(WrittenCell(operator="GRU", node=node) for node in _gru_steps(traced) if not taken.intersection(node.output)),
        *(WrittenCell(operator="RNN", node=node) for node in (*_rnn_steps(traced), *_looped_rnn_steps(traced))),
    )


def _rnn_steps(traced: _Traced) -> Iterator[NodeProto]:
    """Every `h' = tanh(W·x + R·h)`, or with a ReLU, in a chain of at least two."""
    steps = {node.output[0]: node for node in traced.scope.nodes if is_onnx(node, "Tanh", "Relu")}
    made: dict[str, set[str]] = {}  # by the weight R: the h that come out of a product with it, and that go into one
    taken: dict[str, set[str]] = {}
    for name, node in steps.items():
        for product in _products_of_a_sum(traced, node):
            before = _origin(traced, product.input[0])
            made.setdefault(product.input[1], set()).add(name)
            if before is not None and before.output[0] in steps:
                taken.setdefault(product.input[1], set()).add(before.output[0])
    for weight, states in taken.items():
        if traced.scope.tensor(weight) is not None and states & made[weight]:
            yield from (steps[name] for name in steps if name in made[weight])


def _looped_rnn_steps(traced: _Traced) -> Iterator[NodeProto]:
    """Every `h' = tanh(W·x + R·h)`, or with a ReLU, that a loop's body makes of its state h and hands on as it."""
    for own in states_of(traced.scope):
        node = traced.scope.producer(handed_from(traced.scope, own.following))
        if node is not None and is_onnx(node, "Tanh", "Relu"):
            taken = [handed_from(traced.scope, product.input[0]) for product in _products_of_a_sum(traced, node)]
            if own.inside in taken:
                yield node


def _products_of_a_sum(traced: _Traced, node: NodeProto) -> Iterator[NodeProto]:
    """The products with a weight that a nonlinearity's sum is made of; none where there is one product alone."""
    leaves = [leaf for leaf in _leaves(traced, node, 3) if is_onnx(leaf, "MatMul", "Gemm")]
    if len(leaves) > 1:
        yield from leaves


def _lstm_steps(traced: _Traced) -> Iterator[tuple[NodeProto, NodeProto]]:
    """The node that makes h, and the node that makes c."""
    for node in traced.scope.nodes:
        if is_onnx(node, "Mul"):
            origins = [_origin(traced, name) for name in node.input]
            if _operators(origins) == {"Sigmoid", "Tanh"}:
                tanh = next(origin for origin in origins if origin is not None and origin.op_type == "Tanh")
                cell_state = _origin(traced, tanh.input[0])
                if cell_state is not None and _is_lstm_state(traced, cell_state):
                    yield node, cell_state


def _is_lstm_state(traced: _Traced, node: NodeProto) -> bool:
    """Whether a node is `f·c + i·g`: a sum of two products, each with a sigmoid and one with a tanh."""
    products = [_origin(traced, name) for name in node.input]
    if not is_onnx(node, "Add") or _operators(products) != {"Mul"}:
        return False
    factors = [_factors(traced, product) for product in products if product is not None]
    return all("Sigmoid" in own for own in factors) and any("Tanh" in own for own in factors)


def _gru_steps(traced: _Traced) -> Iterator[NodeProto]:
    """Every sum over a gate z and a candidate n that has a reset gate inside its tanh."""
    candidates = {id(node) for node in traced.scope.nodes if is_onnx(node, "Tanh") and _has_reset_gate(traced, node)}
    for node in traced.scope.nodes if candidates else ():
        if is_onnx(node, "Add"):
            leaves = _leaves(traced, node, 4)
            if any(leaf.op_type in _GATES for leaf in leaves) and any(id(leaf) in candidates for leaf in leaves):
                yield node


def _has_reset_gate(traced: _Traced, tanh: NodeProto) -> bool:
    """Whether a product with a sigmoid goes into a tanh, directly or through the recurrent product."""
    total = _origin(traced, tanh.input[0])
    if total is None or not is_onnx(total, "Add", "Gemm"):
        return False
    parts = [total, *(part for name in total.input if (part := _origin(traced, name)) is not None)]
    inner = [part for node in parts for name in node.input if (part := _origin(traced, name)) is not None]
    products = [node for node in (*parts, *inner) if is_onnx(node, "Mul")]
    return any("Sigmoid" in (own := _factors(traced, product)) and "Tanh" not in own for product in products)


def _leaves(traced: _Traced, node: NodeProto, depth: int) -> tuple[NodeProto, ...]:
    """The gates, tanhs and products of matrices under a sum of products, each once."""
    key = id(node), depth
    if key not in traced.leaves:
        found: dict[int, NodeProto] = {}
        for name in node.input[:2]:
            origin = _origin(traced, name)
            if origin is not None and depth and is_onnx(origin, "Add", "Sub", "Mul"):
                found |= {id(leaf): leaf for leaf in _leaves(traced, origin, depth - 1)}
            elif origin is not None and origin.op_type in _LEAVES:
                found[id(origin)] = origin
        traced.leaves[key] = tuple(found.values())
    return traced.leaves[key]


def _factors(traced: _Traced, product: NodeProto) -> set[str]:
    return _operators([_origin(traced, name) for name in product.input])


def _operators(nodes: list[NodeProto | None]) -> set[str]:
    return {"Sigmoid" if node.op_type in _GATES else node.op_type for node in nodes if node is not None}


def _origin(traced: _Traced, name: str) -> NodeProto | None:
    """The node that computed a tensor, past those that only rearrange it or scale it by a number."""
    if name not in traced.origins:
        traced.origins[name] = _sought(traced, traced.scope.producer(name))
    return traced.origins[name]


def _sought(traced: _Traced, node: NodeProto | None) -> NodeProto | None:
    for _ in range(_DEEPEST):
        if node is None:
            break
        if is_onnx(node, *_ARRANGING):
            node = traced.scope.producer(node.input[0])
        elif (scaled := _scaled(traced, node)) is not None:
            node = traced.scope.producer(scaled)
        else:
            break
    return node


def _scaled(traced: _Traced, node: NodeProto) -> str | None:
    """What a node multiplies by one constant number or divides by it; None where it does something else."""
    if not is_onnx(node, "Mul", "Div"):
        return None
    numbers = [name for name in node.input if _is_number(traced, name)]
    others = [name for name in node.input if name not in numbers]
    return others[0] if len(others) == 1 and (is_onnx(node, "Mul") or node.input[1] in numbers) else None


def _is_number(traced: _Traced, name: str) -> bool:
    tensor = traced.scope.tensor(name)
    return tensor is not None and all(dim == 1 for dim in tensor.dims)
