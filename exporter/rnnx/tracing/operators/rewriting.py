"""A traced program whose operators torch.onnx can write: others are replaced by their forms, in place."""

import operator
from typing import Any

import torch
from torch._guards import detect_fake_mode
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from rnnx.tracing.operators.forms import FORMS, Form


def write_with_forms(program: ExportedProgram) -> None:
    """Replace every operator of `FORMS` by the operators of its form, at the same line of the model."""
    found = False
    for node in list(program.graph.nodes):
        form, is_needed = FORMS.get(node.target, (None, None)) if node.op == "call_function" else (None, None)
        if form is None or is_needed is None:
            continue
        args, kwargs = pytree.tree_map_only(Node, _value, (node.args, node.kwargs))
        if is_needed(*args, **kwargs):
            _replace(program, node, form)
            found = True
    if found:
        program.graph.lint()
        program.graph_module.recompile()


def _replace(program: ExportedProgram, node: Node, form: Form) -> None:
    leaves, structure = pytree.tree_flatten((node.args, dict(node.kwargs)))
    places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, Node)]
    written = _traced(form, leaves, places, structure, detect_fake_mode(pytree.tree_leaves(_value(node))))
    graph, copies = program.graph, dict[Node, Any]()
    inputs = iter([leaves[place] for place in places])
    with graph.inserting_before(node):
        for own in written.graph.nodes:
            if own.op == "placeholder":
                copies[own] = next(inputs)
            elif own.op == "output":
                results = pytree.tree_map_only(Node, copies.__getitem__, own.args[0])
            else:
                copies[own] = graph.node_copy(own, copies.__getitem__)
                copies[own].meta = {key: value for key, value in node.meta.items() if key != "val"}
                copies[own].meta["val"] = own.meta["val"]
    if isinstance(results, Node):
        _put(program, node, results)
        return
    for user in list(node.users):
        assert user.target is operator.getitem
        _put(program, user, results[user.args[1]])
    graph.erase_node(node)


def _traced(form: Form, leaves: list[Any], places: list[int], structure: Any, mode: Any) -> GraphModule:
    """The form as a graph of its tensors and sizes."""

    def written(*values: Any) -> Any:
        own = list(leaves)
        for place, value in zip(places, values, strict=True):
            own[place] = value
        args, kwargs = pytree.tree_unflatten(own, structure)
        return form(*args, **kwargs)

    values = [_value(leaves[place]) for place in places]
    with torch.no_grad(), mode:
        return make_fx(written, pre_dispatch=True)(*values)


def _put(program: ExportedProgram, node: Node, replacement: Node) -> None:
    node.replace_all_uses_with(replacement)
    program.graph_signature.replace_all_uses(node.name, replacement.name)
    program.graph.erase_node(node)


def _value(node: Node) -> Any:
    return node.meta["val"]
