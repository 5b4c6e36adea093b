"""Edits of an ONNX graph: a weight changed, a node changed, a node put between others."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from tests.mutants.mutant import Edit

Array = NDArray[Any]
Change = Callable[[Array], Array]


def weights(start: str, change: Change) -> Edit:
    """Change every weight whose name begins with `start`."""

    def edit(model: onnx.ModelProto) -> None:
        chosen = [tensor for tensor in model.graph.initializer if tensor.name.startswith(start)]
        assert chosen, start
        for tensor in chosen:
            values = change(numpy_helper.to_array(tensor).copy())
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), tensor.name))

    return edit


def nodes(op: str, change: Callable[[onnx.NodeProto], None], *, only: int | None = None) -> Edit:
    """Change every node of an operator, or the one at place `only` among them."""

    def edit(model: onnx.ModelProto) -> None:
        chosen = [node for node in model.graph.node if node.op_type == op]
        for node in chosen if only is None else [chosen[only]]:
            change(node)

    return edit


def together(*edits: Edit) -> Edit:
    """Edits one after the other."""

    def edit(model: onnx.ModelProto) -> None:
        for one in edits:
            one(model)

    return edit


def attribute(name: str, value: Any) -> Callable[[onnx.NodeProto], None]:
    """Set an attribute of a node."""

    def change(node: onnx.NodeProto) -> None:
        kept = [own for own in node.attribute if own.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(name, value)])

    return change


def input_at(place: int, name: str) -> Callable[[onnx.NodeProto], None]:
    """Connect an input of a node to another tensor; an empty name leaves it out."""

    def change(node: onnx.NodeProto) -> None:
        node.input.extend([""] * (place + 1 - len(node.input)))
        node.input[place] = name

    return change


def constant(model: onnx.ModelProto, name: str, value: Any, dtype: Any = np.int64) -> str:
    """Add a constant to a graph; returns its name."""
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(value, dtype), name))
    return name


def before(readers: str, tensor: str, chain: Callable[[onnx.ModelProto, str], tuple[Sequence[Any], str]]) -> Edit:
    """Put nodes between a tensor and the nodes of operator `readers` (every node for an empty name) that read it."""

    def edit(model: onnx.ModelProto) -> None:
        made, result = chain(model, tensor)
        found = [node for node in model.graph.node if readers in ("", node.op_type) and tensor in node.input]
        assert found, tensor
        at = min(list(model.graph.node).index(node) for node in found)
        for node in found:
            node.input[:] = [result if name == tensor else name for name in node.input]
        _insert(model.graph, at, made)

    return edit


def after(tensor: str, chain: Callable[[onnx.ModelProto, str], tuple[Sequence[Any], str]]) -> Edit:
    """Put nodes behind a tensor, whose readers and the graph's output then have the last one's result."""

    def edit(model: onnx.ModelProto) -> None:
        (maker,) = (node for node in model.graph.node if tensor in node.output)
        place, inner = list(model.graph.node).index(maker), f"{tensor}_inner"
        maker.output[:] = [inner if name == tensor else name for name in maker.output]
        made, result = chain(model, inner)
        made[-1].output[:] = [tensor if name == result else name for name in made[-1].output]
        _insert(model.graph, place + 1, made)

    return edit


def _insert(graph: onnx.GraphProto, at: int, made: Sequence[onnx.NodeProto]) -> None:
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node]
    del graph.node[:]
    graph.node.extend([*kept[:at], *made, *kept[at:]])


def node(op: str, inputs: Sequence[str], output: str, **attributes: Any) -> onnx.NodeProto:
    """A node with one output, named after it."""
    return helper.make_node(op, list(inputs), [output], f"{op}_{output}", **attributes)
