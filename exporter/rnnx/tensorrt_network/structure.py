"""A network's flat list of layers as a tree: each loop and each conditional with the layers that run inside it.

TensorRT marks only the boundaries. Inside a loop is whatever depends on one of its recurrences or iterators and does
not come out of a loop output, so what is the same at every step lies outside; inside a branch is whatever nothing else
needs. https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/work-with-loops.html and
`work-with-conditionals.html`.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rnnx.tensorrt_network.layers import Layer

_IN_LOOP = ("RECURRENCE", "ITERATOR", "TRIP_LIMIT", "LOOP_OUTPUT")


@dataclass(frozen=True, kw_only=True)
class Loop:
    """A loop: its boundary layers by kind, and what runs in every step."""

    limits: tuple[Layer, ...]
    iterators: tuple[Layer, ...]
    recurrences: tuple[Layer, ...]
    outputs: tuple[Layer, ...]
    body: tuple["Node", ...]

    @property
    def boundary(self) -> tuple[Layer, ...]:
        """All boundary layers."""
        return self.limits + self.iterators + self.recurrences + self.outputs

    @property
    def reads(self) -> frozenset[str]:
        """The tensors from outside."""
        nodes = (*self.boundary, *self.body)
        return _read_by(nodes) - _written_by(nodes)

    @property
    def writes(self) -> frozenset[str]:
        """The tensors that leave it."""
        return _written_by(self.outputs)


@dataclass(frozen=True, kw_only=True)
class Conditional:
    """An if: its condition, its outputs, and what runs for them when it is true and when it is false."""

    condition: Layer
    outputs: tuple[Layer, ...]
    branches: tuple[tuple["Node", ...], tuple["Node", ...]]

    @property
    def reads(self) -> frozenset[str]:
        """The tensors from outside."""
        inner = self.branches[0] + self.branches[1]
        return _read_by((self.condition, *self.outputs, *inner)) - _written_by(inner)

    @property
    def writes(self) -> frozenset[str]:
        """The tensors that leave it."""
        return _written_by(self.outputs)


Node = Layer | Loop | Conditional


def nest(layers: Sequence[Layer], wanted: frozenset[str]) -> tuple[Node, ...]:
    """The tree of a network's layers, without those that no tensor in `wanted` needs."""
    members = _loops_by_layer(layers)
    depth = {loop: len(loops) for loops in members for loop in loops}
    for loops in members:
        for loop in loops:
            depth[loop] = min(depth[loop], len(loops))
    inside: dict[int | None, list[Layer]] = defaultdict(list)
    for layer, loops in zip(layers, members, strict=True):
        inside[max(loops, key=depth.__getitem__, default=None)].append(layer)
    parents = {loop: _parent(loop, layers, members, depth) for loop in depth}
    return _region(None, inside, parents, wanted)


def _loops_by_layer(layers: Sequence[Layer]) -> list[frozenset[int]]:
    """For each layer the loops that it runs in."""
    of_tensor: dict[str, frozenset[int]] = {}
    of_loop: dict[int, frozenset[int]] = {}
    found = [frozenset[int]()] * len(layers)
    changed = True
    while changed:  # a recurrence depends on its own loop's end, and layers need not be in order
        changed = False
        for index, layer in enumerate(layers):
            loops = frozenset().union(*(of_tensor.get(name, frozenset()) for name in layer.reads))
            if layer.kind in _IN_LOOP and layer.scope is not None:
                loops |= {layer.scope}
                of_loop[layer.scope] = loops | of_loop.get(layer.scope, frozenset())
            for loop in loops & of_loop.keys():
                loops |= of_loop[loop]  # an inner loop runs where its outer one does
            leaving = {layer.scope} if layer.kind == "LOOP_OUTPUT" else set()
            for name in layer.writes:
                of_tensor[name] = loops - leaving
            changed |= found[index] != loops
            found[index] = loops
    return found


def _parent(loop: int, layers: Sequence[Layer], members: Sequence[frozenset[int]], depth: dict[int, int]) -> int | None:
    own = next(
        loops - {loop}
        for layer, loops in zip(layers, members, strict=True)
        if layer.kind in _IN_LOOP and layer.scope == loop
    )
    return max(own, key=depth.__getitem__, default=None)


def _region(
    loop: int | None, inside: dict[int | None, list[Layer]], parents: dict[int, int | None], wanted: frozenset[str]
) -> tuple[Node, ...]:
    """What runs directly inside a loop, or, for None, in the network; loops within are nodes of their own."""
    own = [layer for layer in inside[loop] if loop is None or not _bounds(layer, loop)]
    inner = [child for child, parent in parents.items() if parent == loop]
    nodes: list[Node] = [*own, *(_loop(child, inside, parents) for child in inner)]
    return _with_conditionals(_needed(nodes, wanted), wanted)


def _bounds(layer: Layer, loop: int) -> bool:
    return layer.kind in _IN_LOOP and layer.scope == loop


def _loop(loop: int, inside: dict[int | None, list[Layer]], parents: dict[int, int | None]) -> Loop:
    boundary = [layer for layer in inside[loop] if _bounds(layer, loop)]
    limits, iterators, recurrences, outputs = (
        tuple(layer for layer in boundary if layer.kind == kind)
        for kind in ("TRIP_LIMIT", "ITERATOR", "RECURRENCE", "LOOP_OUTPUT")
    )
    body = _region(loop, inside, parents, _read_by(boundary))
    return Loop(limits=limits, iterators=iterators, recurrences=recurrences, outputs=outputs, body=body)


def _needed(nodes: Sequence[Node], wanted: frozenset[str]) -> list[Node]:
    """The nodes that a tensor in `wanted` needs, and the assertions, which nothing needs."""
    kept = [node for node in nodes if isinstance(node, Layer) and node.kind in ("ASSERTION", "CONDITION")]
    names = wanted | _read_by(kept)
    left = [node for node in nodes if node not in kept]
    while True:
        found = [node for node in left if node.writes & names]
        if not found:
            return kept
        kept += found
        names |= _read_by(found)
        left = [node for node in left if not node.writes & names or node not in found]


def _with_conditionals(nodes: Sequence[Node], wanted: frozenset[str]) -> tuple[Node, ...]:
    """The nodes with each outermost conditional as one, the branches' own nodes moved into it."""
    scopes = {node.scope for node in nodes if isinstance(node, Layer) and node.kind == "CONDITIONAL_OUTPUT"}
    found = {scope: _conditional(scope, nodes, wanted) for scope in scopes}
    moved = {id(node): scope for scope, (_, inner) in found.items() for node in inner}
    raise NotImplementedError


def _read_by(nodes: Iterable[Node]) -> frozenset[str]:
    return frozenset().union(*(node.reads for node in nodes))


def _written_by(nodes: Iterable[Node]) -> frozenset[str]:
    return frozenset().union(*(node.writes for node in nodes))
