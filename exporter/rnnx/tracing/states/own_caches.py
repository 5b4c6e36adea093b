"""Caches that a model takes and gives back: the frames of earlier calls in front of this call's, cut to as many."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node

from rnnx.tracing.sizes.dims import expression_of, input_shapes
from rnnx.tracing.states.blended_states import operator_name
from rnnx.tracing.states.data_paths import SHAPING
from rnnx_runtime.contract import StatePair

_MOVES = SHAPING | {"roll", "concat", "movedim", "copy_", "tensor_split", "swapaxes"}

_JOINS = frozenset(("cat", "concat", "copy_"))

_VIEWS = frozenset(("select", "slice", "narrow", "view", "transpose", "permute", "unsqueeze", "squeeze", "alias"))


@dataclass(frozen=True, kw_only=True)
class OwnCache:
    """An input and the result that the next call takes for it; `join` puts other values beside it.

    `symbols` are those of the number of frames that are joined to it, none of a model of one frame a call.
    """

    pair: StatePair
    given: Node
    join: Node
    symbols: frozenset[Any]


def own_caches(program: ExportedProgram, example: Mapping[str, Tensor], outputs: Sequence[str]) -> tuple[OwnCache, ...]:
    """The inputs of which a result of their size has a part, moved and cut, with something else joined to it.

    Args:
        program: the trace.
        example: its inputs by name, in order.
        outputs: the names of its results.
    """
    sizes = _example_sizes(program, example)
    nodes = {node.name: node for node in program.graph.nodes}
    given = {nodes[own]: name for own, name in zip(program.graph_signature.user_inputs, example, strict=True)}
    writes = _writes(program)
    found: dict[str, OwnCache] = {}
    for own, output in zip(program.graph_signature.user_outputs, outputs, strict=True):
        node = nodes[str(own)]
        if node in given or not isinstance(node.meta.get("val"), Tensor):
            continue
        moved = list(_moved(node, writes))
        for origin in (one for one in moved if one in given and _are_alike(one, node, sizes)):
            join = next(_joins(moved, origin, writes), None)
            if join is not None and given[origin] not in found:
                found[given[origin]] = OwnCache(
                    pair=StatePair(input=given[origin], output=output),
                    given=origin,
                    join=join,
                    symbols=_joined_symbols(join, origin, writes),
                )
                break
    return tuple(found.values())


def _writes(program: ExportedProgram) -> Mapping[Node, list[Node]]:
    """What is written in place into each value, by way of its views."""
    found: dict[Node, list[Node]] = {}
    for node in program.graph.nodes:
        if operator_name(node) == "copy_":
            target: Any = node.args[0]
            while operator_name(target) in _VIEWS:
                target = target.args[0]
            found.setdefault(target, []).append(node)
    return found


def _moved(node: Node, writes: Mapping[Node, list[Node]]) -> Iterator[Node]:
    """A value and all that it has parts of."""
    seen, waiting = set[Node](), [node]
    while waiting:
        own = waiting.pop(0)
        if own in seen:
            continue
        seen.add(own)
        yield own
        waiting += [one for write in writes.get(own, ()) for one in (write, *write.all_input_nodes[1:])]
        if operator_name(own) in _MOVES:
            waiting += [one for one in own.all_input_nodes if isinstance(one.meta.get("val"), Tensor | list | tuple)]


def _joins(moved: Sequence[Node], origin: Node, writes: Mapping[Node, list[Node]]) -> Iterator[Node]:
    """What puts a part of an input, and no other part of it, beside something else."""
    for node in moved:
        if operator_name(node) in _JOINS:
            have = [origin in _moved(one, writes) for one in node.all_input_nodes]
            if any(have) and not all(have):
                yield node


def _joined_symbols(join: Node, origin: Node, writes: Mapping[Node, list[Node]]) -> frozenset[Any]:
    """The symbols of how much is joined, but for those of the input's own sizes."""
    if operator_name(join) == "copy_":
        return frozenset()
    dim: Any = join.args[1] if len(join.args) > 1 else join.kwargs.get("dim", 0)
    others = [one for one in join.all_input_nodes if origin not in _moved(one, writes)]
    sizes = [expression_of(one.meta["val"].shape[dim]) for one in others]
    known = {symbol for size in origin.meta["val"].shape for symbol in expression_of(size).free_symbols}
    return frozenset().union(*(size.free_symbols for size in sizes)) - known


def _are_alike(one: Node, other: Node, sizes: Mapping[Any, int]) -> bool:
    """Whether two values have one dtype, and one shape in the example."""
    first, second = one.meta["val"], other.meta["val"]
    shapes = ([expression_of(size).subs(sizes) for size in value.shape] for value in (first, second))
    return bool(first.dtype == second.dtype and next(shapes) == next(shapes))


def _example_sizes(program: ExportedProgram, example: Mapping[str, Tensor]) -> dict[Any, int]:
    """The example's size of each symbol; a trace may be of a larger one."""
    found = {}
    for name, shape in input_shapes(program, list(example)).items():
        for size, own in zip(shape, example[name].shape, strict=True):
            if expression_of(size).is_Symbol:
                found[expression_of(size)] = own
    return found
