"""A network's flat list of layers as a tree: each loop and each conditional with the layers that run inside it.

TensorRT marks only the boundaries. Inside a loop is whatever depends on one of its recurrences or iterators and does
not come out of a loop output, so what is the same at every step lies outside.
https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/work-with-loops.html
"""

from collections.abc import Mapping, Sequence

from rnnx.tensorrt_network.branches import with_branches, with_conditions
from rnnx.tensorrt_network.layers import Layer
from rnnx.tensorrt_network.structure import Loop, Node, in_order, read_by

BOUNDS = ("TRIP_LIMIT", "ITERATOR", "RECURRENCE", "LOOP_OUTPUT")
"""The layers that make a loop."""


def nest(layers: Sequence[Layer], wanted: frozenset[str]) -> tuple[Node, ...]:
    """The tree of a network's layers in an order to run them in, without what no tensor in `wanted` needs."""
    layers = _live(with_conditions(layers), wanted)
    members, chains = _loops(layers)
    inside: dict[int | None, list[Layer]] = {loop: [] for loop in (None, *chains)}
    for layer, loops in zip(layers, members, strict=True):
        inside[_innermost(loops, chains)].append(layer)
    return _region(None, inside, chains, wanted)


def _region(
    loop: int | None,
    inside: Mapping[int | None, Sequence[Layer]],
    chains: Mapping[int, frozenset[int]],
    wanted: frozenset[str],
) -> tuple[Node, ...]:
    """What runs directly in a loop, or, for None, in the network, with each loop inside it as one."""
    own = [layer for layer in inside[loop] if not _bounds(layer, loop)]
    inner = [child for child, chain in chains.items() if _innermost(chain - {child}, chains) == loop]
    return with_branches(in_order([*own, *(_loop(child, inside, chains) for child in inner)], wanted), wanted)


def _loop(loop: int, inside: Mapping[int | None, Sequence[Layer]], chains: Mapping[int, frozenset[int]]) -> Loop:
    bounds = tuple(layer for layer in inside[loop] if _bounds(layer, loop))
    return Loop(bounds=bounds, body=_region(loop, inside, chains, read_by(bounds)))


def _bounds(layer: Layer, loop: int | None) -> bool:
    return layer.kind in BOUNDS and layer.scope == loop


def _live(layers: Sequence[Layer], wanted: frozenset[str]) -> list[Layer]:
    """The layers that `wanted` or an assertion needs; a loop's limits with anything of the loop."""
    makers = {name: layer for layer in layers for name in layer.writes}
    limits = [layer for layer in layers if layer.kind == "TRIP_LIMIT"]
    pending = [makers[name] for name in wanted if name in makers]
    pending += [layer for layer in layers if layer.kind == "ASSERTION"]
    live: set[Layer] = set()
    while pending:
        layer = pending.pop()
        if layer not in live:
            live.add(layer)
            pending += [makers[name] for name in layer.reads if name in makers]
            pending += [limit for limit in limits if layer.kind in BOUNDS and limit.scope == layer.scope]
    return [layer for layer in layers if layer in live]


def _loops(layers: Sequence[Layer]) -> tuple[list[frozenset[int]], dict[int, frozenset[int]]]:
    """For each layer the loops it runs in, and for each loop itself and those around it."""
    of_tensor: dict[str, frozenset[int]] = {}
    chains: dict[int, frozenset[int]] = {}
    members = [frozenset[int]()] * len(layers)
    changed = True
    while changed:  # a recurrence reads its own loop's end, and the layers are in no particular order
        changed = False
        for index, layer in enumerate(layers):
            loops = frozenset().union(*(of_tensor.get(name, frozenset()) for name in layer.reads))
            bounded = frozenset({layer.scope}) if layer.kind in BOUNDS and layer.scope is not None else frozenset()
            loops = loops.union(bounded, *(chains.get(loop, frozenset()) for loop in loops | bounded))
            changed |= members[index] != loops
            members[index] = loops
            chains |= dict.fromkeys(bounded, loops)
            of_tensor |= dict.fromkeys(layer.writes, loops - bounded if layer.kind == "LOOP_OUTPUT" else loops)
    return members, chains


def _innermost(loops: frozenset[int], chains: Mapping[int, frozenset[int]]) -> int | None:
    return max(loops, key=lambda loop: len(chains[loop]), default=None)
