"""`backward-order`, `padding-first` and `batch-turned`: backward passes that are written as a turned sequence.

A Slice with a step of -1 turns an axis round; a backward pass turns x, and turns what comes out back. With padded rows
it takes ReverseSequence, which turns each row up to its own length.
"""

from collections.abc import Iterator, Mapping

from onnx import NodeProto

from rnnx.linting.findings import Finding
from rnnx.linting.rules.axes import BATCH, TIME, Axis, axis_at
from rnnx.linting.rules.examined_model import ExaminedModel, ExaminedScope
from rnnx.linting.rules.recurrences import Recurrence
from rnnx.linting.rules.scopes import Scope, attributes_of, input_of, is_onnx, scanned_count, shown
from rnnx.linting.rules.upstream import handed_through

_JOINING = ("Concat", "Add", "Mul", "Sub", "Max", "Min", "Sum", "Mean")


def find(model: ExaminedModel) -> Iterator[Finding]:
    """Every layer over a turned sequence that is padded or is turned on another axis, and every join of two orders."""
    if model.origin.is_traced:
        return  # the model itself does so
    for part in model.parts:
        for layer in part.layers:
            yield from _turned(part, layer)
        yield from _joins(part)
        yield from (_scan(part.scope, node) for node in part.scope.nodes if _is_half_turned(part.scope, node))


def turned_axis(part: ExaminedScope, node: NodeProto) -> Axis | None:
    """The axis that a Slice turns round; None for any other node."""
    if not is_onnx(node, "Slice") or node.input[0] not in part.axes:
        return None
    starts, steps = (part.scope.ints(input_of(node, place)) or () for place in (1, 4))
    places = part.scope.ints(input_of(node, 3)) or tuple(range(len(starts)))
    turned = [place for start, step, place in zip(starts, steps, places, strict=False) if (start, step) == (-1, -1)]
    return axis_at(part.axes[node.input[0]], turned[0]) if turned else None


def backward_tensors(part: ExaminedScope) -> tuple[Mapping[str, bool], set[str]]:
    """For each tensor with a time axis whether it runs backwards; and those that were turned back, or hold such."""
    backwards: dict[str, bool] = {}
    turned_back: set[str] = set()
    for node in part.scope.nodes:
        inputs = [name for name in node.input if TIME in part.axes.get(name, ())]
        own = any(backwards.get(name, False) for name in inputs)
        if turned_axis(part, node) == TIME:
            if own:
                turned_back.update(node.output)
            own = not own
        elif turned_back.intersection(inputs):
            turned_back.update(node.output)
        backwards |= {name: own for name in node.output if TIME in part.axes.get(name, ())}
    return backwards, turned_back


def _turned(part: ExaminedScope, layer: Recurrence) -> Iterator[Finding]:
    node = part.scope.producer(handed_through(part.scope, layer.x))
    axis = turned_axis(part, node) if node is not None else None
    if node is not None and axis == BATCH:
        yield Finding(
            rule="batch-turned",
            severity="warning",
            node=shown(node),
            message=f"it turns the batch round in front of {layer.shown}, not the time: a backward pass that runs "
            "forwards, over other rows",
            fix="turn the axis of time",
        )
    elif node is not None and axis == TIME and layer.sequence_lens:
        yield Finding(
            rule="padding-first",
            severity="warning",
            node=shown(node),
            message=f"it turns whole rows round in front of {layer.shown}, which is given lengths: a shorter row's "
            "padding comes first, and its end is cut",
            fix="use ReverseSequence with the lengths, or direction reverse",
        )


def _joins(part: ExaminedScope) -> Iterator[Finding]:
    backwards, _ = backward_tensors(part)
    for node in part.scope.nodes:
        orders = {backwards[name] for name in node.input if name in backwards}
        if is_onnx(node, *_JOINING) and len(orders) == 2:
            yield Finding(
                rule="backward-order",
                severity="warning",
                node=shown(node),
                message="it puts steps that run forwards beside steps that run backwards: the first beside the last",
                fix="turn the backward pass's output round before it is joined",
            )


def _is_half_turned(scope: Scope, node: NodeProto) -> bool:
    """Whether a Scan goes through all its inputs backwards, and writes an output that is wanted forwards."""
    if not is_onnx(node, "Scan"):
        return False
    own = attributes_of(node)
    taken, given = list(own.get("scan_input_directions", ())), own.get("scan_output_directions", ())
    carried = len(node.input) - scanned_count(node)
    return (
        bool(taken)
        and all(taken)
        and any(
            _is_wanted(scope, name) and not (place < len(given) and given[place])
            for place, name in enumerate(node.output[carried:])
        )
    )


def _is_wanted(scope: Scope, name: str) -> bool:
    """Whether an output is read by something that does not turn it back."""
    outputs = {value.name for value in scope.graph.output} if scope.graph is not None else set()
    readers = scope.readers.get(name, ())
    turning = [
        node for node in readers if -1 in (scope.ints(input_of(node, 4)) or ()) or node.op_type == "ReverseSequence"
    ]
    return bool(name) and (name in outputs or bool(readers)) and not turning


def _scan(scope: Scope, node: NodeProto) -> Finding:
    return Finding(
        rule="backward-order",
        severity="warning",
        node=shown(node),
        message="it goes through its input from the end and writes its output from the beginning: the output's first "
        "step is the input's last",
        fix="set scan_output_directions to 1, too",
    )
