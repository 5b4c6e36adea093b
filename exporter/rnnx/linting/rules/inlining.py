"""A model with its local functions written out where they are called, if that is no more than a graph can be."""

from collections.abc import Iterable, Mapping

from onnx import FunctionProto, ModelProto, NodeProto, inliner

from rnnx.linting.message_limits import MOST_NODES
from rnnx.linting.rules.scopes import subgraphs_of

_Key = tuple[str, str, str]
"""A function's domain, name and overload."""


class EndlessError(Exception):
    """A model's functions call themselves, or come to more nodes than a graph can have."""


def inlined(model: ModelProto) -> ModelProto:
    """The model without functions; a model that has none is left as it is, for inlining copies the weights.

    Raises:
        EndlessError: a function calls itself, or the graph would have more than `MOST_NODES`.
    """
    if not model.functions:
        return model
    refuse_endless(model)
    return inliner.inline_local_functions(model)


def refuse_endless(model: ModelProto) -> None:
    """Count what inlining would write, and write nothing; raises EndlessError as `inlined`.

    Sixty functions that each call the one before twice would be more than any memory holds.
    """
    sizes = _sizes({(own.domain, own.name, own.overload): own for own in model.functions})
    count = _count(model.graph.node, sizes)
    if count > MOST_NODES and model.functions:
        raise EndlessError(f"functions that write out to {count:.0e} nodes")


def _sizes(functions: Mapping[_Key, FunctionProto]) -> dict[_Key, int]:
    """How many nodes each function comes to, those that it calls first."""
    sizes: dict[_Key, int] = {}
    waiting = dict(functions)
    while waiting:
        ready = [key for key, own in waiting.items() if not any(name in waiting for name in _called(own.node))]
        if not ready:
            raise EndlessError("a function that calls itself")
        for key in ready:
            sizes[key] = min(_count(waiting.pop(key).node, sizes), 10 * MOST_NODES)
    return sizes


def _called(nodes: Iterable[NodeProto]) -> set[_Key]:
    found = {(node.domain, node.op_type, node.overload) for node in nodes}
    return found.union(*(_called(graph.node) for node in nodes for graph in subgraphs_of(node)))


def _count(nodes: Iterable[NodeProto], sizes: Mapping[_Key, int]) -> int:
    return sum(
        sizes.get((node.domain, node.op_type, node.overload), 1)
        + sum(_count(graph.node, sizes) for graph in subgraphs_of(node))
        for node in nodes
    )
