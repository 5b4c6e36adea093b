"""What each dim of a tensor stands for: time, batch, direction or hidden size, followed from the recurrent nodes.

A recurrent node says what the dims of its inputs and outputs are; from there the meaning is carried up and down the
graph through operators that keep, reorder, split or join dims. Where an operator does something else the trail ends.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from onnx import NodeProto

from rnnx.linting.rules.axes import BATCH, OTHER, TIME, Atom, Axes, Axis
from rnnx.linting.rules.recurrences import Recurrence
from rnnx.linting.rules.reshaping import matched
from rnnx.linting.rules.scopes import Scope, attributes_of, input_of, is_onnx
from rnnx.linting.rules.shape_values import shape_values

_Found = Iterator[tuple[str, Axes]]
_Carrier = Callable[[Scope, NodeProto, Mapping[str, Axes]], _Found]


def traced_axes(
    scope: Scope, layers: Sequence[Recurrence], known_axes: Mapping[str, Axes] | None = None
) -> dict[str, Axes]:
    """The axes of every tensor of a scope that can be reached from its recurrent nodes, and from `known_axes`."""
    axes: dict[str, Axes] = dict(known_axes or {})
    for layer in layers:
        _carry(axes, _seeds(layer))
    known = -1
    while known < len(axes):
        known = len(axes)
        for node in scope.nodes:
            _carry(axes, _downstream(scope, node, axes))
        for node in reversed(scope.nodes):
            _carry(axes, _upstream(scope, node, axes))
    return axes


def _seeds(layer: Recurrence) -> _Found:
    directions: Axis = (Atom("D", layer.directions),)
    hidden: Axis = (Atom("H", layer.hidden_size),)
    front, state = (TIME, BATCH), (directions, BATCH, hidden)
    y: Axes = (TIME, directions, BATCH, hidden)
    if layer.has_layout:
        front, state, y = (BATCH, TIME), (BATCH, directions, hidden), (BATCH, TIME, directions, hidden)
    yield layer.x, (*front, OTHER)
    yield layer.outputs[0], y
    yield from ((name, state) for name in (*layer.outputs[1:], *layer.initial_states))
    yield layer.sequence_lens, (BATCH,)


def _carry(axes: dict[str, Axes], found: _Found) -> None:
    for name, own in found:
        if name:
            axes.setdefault(name, own)


def _downstream(scope: Scope, node: NodeProto, axes: Mapping[str, Axes]) -> _Found:
    carrier = _DOWNSTREAM.get(node.op_type) if is_onnx(node, node.op_type) else None
    return carrier(scope, node, axes) if carrier else iter(())


def _upstream(scope: Scope, node: NodeProto, axes: Mapping[str, Axes]) -> _Found:
    carrier = _UPSTREAM.get(node.op_type) if is_onnx(node, node.op_type) else None
    return carrier(scope, node, axes) if carrier else iter(())


def _keep_down(scope: Scope, node: NodeProto, axes: Mapping[str, Axes]) -> _Found:
    if node.input[0] in axes:
        yield node.output[0], axes[node.input[0]]


def _keep_up(scope: Scope, node: NodeProto, axes: Mapping[str, Axes]) -> _Found:
    if node.output[0] in axes:
        yield node.input[0], axes[node.output[0]]


def _broadcast_down(scope: Scope, node: NodeProto, axes: Mapping[str, Axes]) -> _Found:
    ranked = [axes[name] for name in node.input if name in axes]
    declared = scope.dims(node.output[0])
    widest = max(ranked, key=len, default=None)
    if widest is not None and (declared is None or len(declared) == len(widest)):
        yield node.output[0], widest


def _broadcast_up(scope: Scope, node: NodeProto, axes: Mapping[str, Axes]) -> _Found:
    """To the only operand that is no constant: of two, either may be the one that is stretched."""
    operands = [name for name in node.input if scope.tensor(name) is None]
    if node.output[0] in axes and len(operands) == 1:
        yield operands[0], axes[node.output[0]]


def _transpose(backwards: bool) -> _Carrier:
    def carry(scope: Scope, node: NodeProto, axes: Mapping[str, Axes]) -> _Found:
        source, target = (node.output[0], node.input[0]) if backwards else (node.input[0], node.output[0])
        if source in axes:
            own = axes[source]
            order = list(attributes_of(node).get("perm", range(len(own))[::-1]))
            if sorted(order) == list(range(len(own))):
                places = [order.index(place) for place in range(len(own))] if backwards else order
                yield target, tuple(own[place] for place in places)

    return carry


def _without(scope: Scope, node: NodeProto, source: str, target: str, axes: Mapping[str, Axes]) -> _Found:
    """Squeeze downstream, Unsqueeze upstream: the dims of size one disappear."""
    places, own = _axes_of(scope, node), axes.get(source)
    if own is not None and places is not None and all(-len(own) <= place < len(own) for place in places):
        gone = {place % len(own) for place in places}
        yield target, tuple(axis for place, axis in enumerate(own) if place not in gone)


def _with(scope: Scope, node: NodeProto, source: str, target: str, axes: Mapping[str, Axes]) -> _Found:
    """Unsqueeze downstream, Squeeze upstream: dims of size one appear."""
    places, own = _axes_of(scope, node), axes.get(source)
    if own is None or places is None:
        return
    rank = len(own) + len(places)
    new, rest = {place % rank for place in places}, iter(own)
    if len(new) == len(places):
        yield target, tuple((Atom("", 1),) if place in new else next(rest) for place in range(rank))


def _axes_of(scope: Scope, node: NodeProto) -> tuple[int, ...] | None:
    """The axes of Squeeze or Unsqueeze, an attribute before opset 13."""
    own = attributes_of(node).get("axes")
    return tuple(own) if own is not None else scope.ints(input_of(node, 1))


def _reshape_down(scope: Scope, node: NodeProto, axes: Mapping[str, Axes]) -> _Found:
    own, target = axes.get(node.input[0]), shape_values(scope, node.input[1])
    if own is None or target is None:
        return
    groups = matched(own, target, keeps_zero=bool(attributes_of(node).get("allowzero")))
    if groups is not None:
        # A length that is written down here is this node's fault alone: what follows just has that size.
        fixed = [value is not None and value > 0 for value in target]
        yield (
            node.output[0],
            tuple(
                (Atom("", value),) if is_fixed and any(atom.size is None for atom in group) else group
                for group, value, is_fixed in zip(groups, target, fixed, strict=True)
            ),
        )


def _matmul_down(scope: Scope, node: NodeProto, axes: Mapping[str, Axes]) -> _Found:
    weight = scope.tensor(node.input[1])
    if node.input[0] in axes and weight is not None and len(weight.dims) == 2:
        yield node.output[0], (*axes[node.input[0]][:-1], (Atom("", weight.dims[1]),))


def _matmul_up(scope: Scope, node: NodeProto, axes: Mapping[str, Axes]) -> _Found:
    weight = scope.tensor(node.input[1])
    if node.output[0] in axes and weight is not None and len(weight.dims) == 2:
        yield node.input[0], (*axes[node.output[0]][:-1], OTHER)


def _concat_down(scope: Scope, node: NodeProto, axes: Mapping[str, Axes]) -> _Found:
    own = next((axes[name] for name in node.input if name in axes), None)
    if own is not None:
        yield node.output[0], _resized(own, attributes_of(node)["axis"])


def _concat_up(scope: Scope, node: NodeProto, axes: Mapping[str, Axes]) -> _Found:
    if node.output[0] in axes:
        own = _resized(axes[node.output[0]], attributes_of(node)["axis"])
        yield from ((name, own) for name in node.input)


def _slice_down(scope: Scope, node: NodeProto, axes: Mapping[str, Axes]) -> _Found:
    places = scope.ints(input_of(node, 3))
    if node.input[0] in axes and places is not None:
        own = axes[node.input[0]]
        for place in places:
            own = _resized(own, place)
        yield node.output[0], own


def _slice_up(scope: Scope, node: NodeProto, axes: Mapping[str, Axes]) -> _Found:
    places = scope.ints(input_of(node, 3))
    if node.output[0] in axes and places is not None:
        own = axes[node.output[0]]
        for place in places:
            own = _resized(own, place)
        yield node.input[0], own


def _split_down(scope: Scope, node: NodeProto, axes: Mapping[str, Axes]) -> _Found:
    if node.input[0] in axes:
        own = _resized(axes[node.input[0]], attributes_of(node).get("axis", 0))
        yield from ((name, own) for name in node.output)


def _split_up(scope: Scope, node: NodeProto, axes: Mapping[str, Axes]) -> _Found:
    own = next((axes[name] for name in node.output if name in axes), None)
    if own is not None:
        yield node.input[0], _resized(own, attributes_of(node).get("axis", 0))


def _gather_down(scope: Scope, node: NodeProto, axes: Mapping[str, Axes]) -> _Found:
    indices, place = scope.tensor(node.input[1]), attributes_of(node).get("axis", 0)
    if node.input[0] in axes and indices is not None and len(indices.dims) <= 1:
        own = axes[node.input[0]]
        if not -len(own) <= place < len(own):
            return
        place %= len(own)
        yield node.output[0], (*own[:place], *([OTHER] if indices.dims else []), *own[place + 1 :])


def _gather_up(scope: Scope, node: NodeProto, axes: Mapping[str, Axes]) -> _Found:
    """To what one place was taken from: its other axes are known, and that one is not."""
    indices, place = scope.tensor(node.input[1]), attributes_of(node).get("axis", 0)
    own = axes.get(node.output[0])
    if own is None or indices is None or len(indices.dims) > 1:
        return
    rank = len(own) + (not indices.dims)
    if -rank <= place < rank:
        place %= rank
        yield node.input[0], (*own[:place], OTHER, *own[place + len(indices.dims) :])


def _resized(axes: Axes, place: int) -> Axes:
    """The axes after one of them was cut or lengthened: time and batch stay what they are, of another size."""
    if not -len(axes) <= place < len(axes):
        return axes
    place %= len(axes)
    changed = axes[place] if axes[place] in (TIME, BATCH) else OTHER
    return (*axes[:place], changed, *axes[place + 1 :])


_ELEMENTWISE = (
    "Identity", "Cast", "Dropout", "Relu", "Sigmoid", "Tanh", "Elu", "Selu", "LeakyRelu", "Clip", "Neg", "Abs", "Exp",
    "Log", "Sqrt", "Erf", "Gelu", "Softmax", "LogSoftmax", "LayerNormalization", "QuantizeLinear", "DequantizeLinear",
    "DynamicQuantizeLinear", "HardSigmoid", "Softplus",
)  # fmt: skip
_BROADCASTING = ("Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "PRelu", "Where")

_DOWNSTREAM: dict[str, _Carrier] = {
    **dict.fromkeys(_ELEMENTWISE, _keep_down),
    **dict.fromkeys(_BROADCASTING, _broadcast_down),
    **dict.fromkeys(("MatMul", "MatMulInteger"), _matmul_down),
    "Transpose": _transpose(backwards=False),
    "Squeeze": lambda scope, node, axes: _without(scope, node, node.input[0], node.output[0], axes),
    "Unsqueeze": lambda scope, node, axes: _with(scope, node, node.input[0], node.output[0], axes),
    "Reshape": _reshape_down,
    "Concat": _concat_down,
    "Slice": _slice_down,
    "Split": _split_down,
    "Gather": _gather_down,
}

_UPSTREAM: dict[str, _Carrier] = {
    **dict.fromkeys(_ELEMENTWISE, _keep_up),
    **dict.fromkeys(_BROADCASTING, _broadcast_up),
    **dict.fromkeys(("MatMul", "MatMulInteger"), _matmul_up),
    "Transpose": _transpose(backwards=True),
    "Squeeze": lambda scope, node, axes: _with(scope, node, node.output[0], node.input[0], axes),
    "Unsqueeze": lambda scope, node, axes: _without(scope, node, node.output[0], node.input[0], axes),
    "Concat": _concat_up,
    "Slice": _slice_up,
    "Split": _split_up,
    "Gather": _gather_up,
}
