"""The marks of a loop and its step as one Scan, whose body is the step.

https://onnx.ai/onnx/operators/onnx__Scan.html
"""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from rnnx.errors import ExportError
from rnnx.tracing.loops.markers import BEGIN, DOMAIN, END

_T = TypeVar("_T")


def write_scans(model: ir.Model) -> None:
    """Replace the marks of every loop, and what stands between them, by a Scan, in place.

    What the step computes of nothing that changes from step to step stays outside of the Scan.

    Raises:
        ExportError: something outside of a loop reads what a step computes.
    """
    begins = {own.attributes["loop"].as_int(): own for own in model.graph if _is(own, BEGIN)}
    if not begins:
        return
    RemoveUnusedNodesPass()(model)
    for node in [own for own in model.graph if _is(own, END)]:
        number = node.attributes["loop"].as_int()
        _write_scan(model.graph, begins[number], node, f"loop_{number}")
    RemoveUnusedNodesPass()(model)
    model.graph.opset_imports.pop(DOMAIN, None)


def _write_scan(graph: ir.Graph, first: ir.Node, last: ir.Node, name: str) -> None:
    states = first.attributes["states"].as_int()
    axes, backwards = (first.attributes[own].as_ints() for own in ("axes", "backwards"))
    step = _step(graph, first, last)
    _refuse_leaks(step, first, last)
    read = [place for place in range(len(axes)) if first.outputs[states + place].uses()] or [0]
    kept = [*range(states), *(states + place for place in read)]
    body = _body(graph, [first.outputs[place] for place in kept], last, step, name)
    scan = ir.node(
        "Scan",
        [first.inputs[place] for place in kept],
        attributes={
            "body": body,
            "num_scan_inputs": len(read),
            "scan_input_axes": [axes[place] for place in read],
            "scan_input_directions": [backwards[place] for place in read],
        },
        num_outputs=len(last.outputs),
        name=name,
    )
    for place, (old, new) in enumerate(zip(_states_first(last.outputs, states), scan.outputs, strict=True)):
        new.name = old.name if old.is_graph_output() else f"{name}/{'last' if place < states else 'all'}_{place}"
        new.type, new.shape = old.type, old.shape
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    graph.insert_before(last, scan)
    graph.remove([last, first], safe=True)


def _states_first(values: Sequence[_T], states: int) -> list[_T]:
    """The values of a loop's end in the order of a Scan, which has its states first."""
    split = len(values) - states
    return [*values[split:], *values[:split]]


def _step(graph: ir.Graph, first: ir.Node, last: ir.Node) -> list[ir.Node]:
    """The nodes that read what the loop's beginning gives and that its end needs, in order."""
    known, found = set(first.outputs), list[ir.Node]()
    for node in graph:
        if node is not last and node is not first and any(value in known for value in _read(node)):
            found.append(node)
            known.update(node.outputs)
    needed = set(last.inputs)
    kept = list[ir.Node]()
    for node in reversed(found):
        if any(value in needed for value in node.outputs):
            kept.append(node)
            needed.update(_read(node))
    return kept[::-1]


def _refuse_leaks(step: Sequence[ir.Node], first: ir.Node, last: ir.Node) -> None:
    inside = {id(own) for node in step for own in (node, *_nested(node))} | {id(last)}
    for node in (first, *step):
        for value in node.outputs:
            users = [use.node for use in value.uses() if use.node.graph is not None]  # others are in no graph any more
            if value.is_graph_output() or any(id(own) not in inside for own in users):
                raise ExportError(
                    "a loop over time",
                    got="a value of its step that is read outside of it",
                    expected="results of all steps, or the last states",
                    remedy="this is a defect of rnnx: report it with the model",
                )


def _body(graph: ir.Graph, given: Sequence[ir.Value], last: ir.Node, step: list[ir.Node], name: str) -> ir.Graph:
    inputs = []
    for place, old in enumerate(given):
        new = ir.Value(name=f"{name}/in_{place}", type=old.type, shape=None)
        ir.convenience.replace_all_uses_with(old, new)
        inputs.append(new)
    graph.remove(step)
    made = {id(value) for node in step for value in node.outputs}
    outputs, copies = list[ir.Value](), list[ir.Node]()
    for place, value in enumerate(_states_first(last.inputs, last.attributes["states"].as_int())):
        assert value is not None
        if id(value) not in made or any(value is own for own in outputs):
            copy = ir.node("Identity", [value], name=f"{name}/copy_{place}")
            copy.outputs[0].name, copy.outputs[0].type = f"{name}/out_{place}", value.type
            copies.append(copy)
            value = copy.outputs[0]
        outputs.append(value)
    for value in outputs:
        value.shape = None
    for node in step:
        node.name = f"{name}/{node.name}"
    return ir.Graph(inputs, outputs, nodes=[*step, *copies], name=f"{name}_step")


def _read(node: ir.Node) -> Iterator[ir.Value]:
    """What a node reads, in its own graphs too."""
    for own in (node, *_nested(node)):
        yield from (value for value in own.inputs if value is not None)
        for graph in _graphs(own):
            yield from graph.outputs


def _nested(node: ir.Node) -> Iterator[ir.Node]:
    for graph in _graphs(node):
        for own in graph:
            yield own
            yield from _nested(own)


def _graphs(node: ir.Node) -> list[ir.Graph]:
    return [own.as_graph() for own in node.attributes.values() if own.type == ir.AttributeType.GRAPH]


def _is(node: ir.Node, operator: str) -> bool:
    return node.domain == DOMAIN and node.op_type == operator
