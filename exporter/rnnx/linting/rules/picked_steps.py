"""`baked-time` and `baked-batch` of nodes that pick places of a sequence by number: `y[:, 4]`, not `y[:, -1]`."""

from collections.abc import Iterator

from onnx import NodeProto

from rnnx.linting.findings import Finding
from rnnx.linting.rules.axes import BATCH, TIME, axis_at
from rnnx.linting.rules.examined_model import ExaminedModel, ExaminedScope
from rnnx.linting.rules.fixed_lengths import Length, freedom
from rnnx.linting.rules.scopes import Scope, attributes_of, input_of, is_onnx, shown

_ENDLESS = 2**31 - 1
"""Exporters write an end as large as this, or larger, for `to the end`."""


def find(model: ExaminedModel) -> Iterator[Finding]:
    """Every node that reads or cuts a free time or batch axis at a constant place."""
    if model.origin.is_traced:
        return  # the model itself counts so
    for part in model.parts:
        for node in part.scope.nodes:
            for length, holding in _picks(part, node):
                if freedom(model, length) != "fixed":
                    yield Finding(
                        rule="baked-time" if length == "T" else "baked-batch",
                        severity="warning",
                        node=shown(node),
                        message=f"{holding}, counted in the export's example: at another length it is another place, "
                        "or none, on every backend",
                        fix="count from the end (-1), or from the Shape of x; export with that axis dynamic",
                    )


def _picks(part: ExaminedScope, node: NodeProto) -> Iterator[tuple[Length, str]]:
    axes = part.axes.get(node.input[0]) if node.input else None
    if axes is None:
        return
    if is_onnx(node, "Gather"):
        place, indices = attributes_of(node).get("axis", 0), part.scope.ints(node.input[1])
        if axis_at(axes, place) == TIME and indices is not None and max(indices) > 0:
            yield "T", f"it picks time step {max(indices)}"
    elif is_onnx(node, "Slice"):
        yield from _cuts(part, node)
    elif is_onnx(node, "Squeeze"):
        own = attributes_of(node).get("axes") or part.scope.ints(input_of(node, 1)) or ()
        for place in own:
            if axis_at(axes, place) in (TIME, BATCH) and not _is_cut_to_one(part.scope, node.input[0], place):
                length: Length = "T" if axis_at(axes, place) == TIME else "B"
                yield length, f"it drops the {'time' if length == 'T' else 'batch'} axis, as if it were always 1"


def _is_cut_to_one(scope: Scope, name: str, axis: int) -> bool:
    """Whether a tensor is a slice of one step on this axis, such as `y[-1:]`, whose axis is 1 at any length."""
    node = scope.producer(name)
    while node is not None and is_onnx(node, "Identity", "Cast"):
        node = scope.producer(node.input[0])
    if node is None or not is_onnx(node, "Slice"):
        return False
    starts, ends, axes = (scope.ints(input_of(node, place)) or () for place in (1, 2, 3))
    cut = [(start, end) for start, end, own in zip(starts, ends, axes, strict=False) if own == axis]
    return any(end - start == 1 or (start == -1 and end >= _ENDLESS) for start, end in cut)


def _cuts(part: ExaminedScope, node: NodeProto) -> Iterator[tuple[Length, str]]:
    """Slices from the start to a step in the middle; one that ends where it began picks a step on purpose."""
    scope, axes = part.scope, part.axes[node.input[0]]
    starts, ends, places = (scope.ints(input_of(node, place)) for place in (1, 2, 3))
    for start, end, place in zip(starts or (), ends or (), places or (), strict=False):
        if axis_at(axes, place) in (TIME, BATCH) and start == 0 and 1 < end < _ENDLESS:
            length: Length = "T" if axis_at(axes, place) == TIME else "B"
            yield length, f"it keeps the first {end} {'time steps' if length == 'T' else 'sequences'}"
