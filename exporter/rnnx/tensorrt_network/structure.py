"""A network's flat list of layers as a tree: each loop and each conditional with the layers that run inside it.

TensorRT marks only the boundaries. Inside a loop is whatever depends on one of its recurrences or iterators and does
not come out of a loop output, so what is the same at every step lies outside; inside a branch is whatever nothing else
needs. https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/work-with-loops.html and
`work-with-conditionals.html`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from rnnx.tensorrt_network.layers import Layer

BOUNDS = ("TRIP_LIMIT", "ITERATOR", "RECURRENCE", "LOOP_OUTPUT")
"""The layers that make a loop."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Loop:
    """A loop: its boundary layers, and what runs in every step, in order."""

    bounds: tuple[Layer, ...]
    body: tuple["Node", ...]

    @property
    def subject(self) -> str:
        """The loop in an error's words."""
        return f"loop {self.bounds[0].native.loop.name!r}"

    @property
    def reads(self) -> frozenset[str]:
        """The tensors from outside."""
        nodes = (*self.bounds, *self.body)
        return read_by(nodes) - written_by(nodes)

    @property
    def writes(self) -> frozenset[str]:
        """The tensors that leave it."""
        return written_by(self.of_kind("LOOP_OUTPUT"))

    def of_kind(self, kind: str) -> tuple[Layer, ...]:
        """Its boundary layers of one kind."""
        return tuple(layer for layer in self.bounds if layer.kind == kind)


@dataclass(frozen=True, kw_only=True, eq=False)
class Conditional:
    """An if: its outputs, whose inputs are condition, true and false, and what runs for the true and the false ones."""

    outputs: tuple[Layer, ...]
    branches: tuple[tuple["Node", ...], ...]

    @property
    def reads(self) -> frozenset[str]:
        """The tensors from outside."""
        inner = [node for branch in self.branches for node in branch]
        return (read_by(self.outputs) | read_by(inner)) - written_by(inner)

    @property
    def writes(self) -> frozenset[str]:
        """The tensors that leave it."""
        return written_by(self.outputs)


Node = Layer | Loop | Conditional


def nest(layers: Sequence[Layer], wanted: frozenset[str]) -> tuple[Node, ...]:
    """The tree of a network's layers in an order to run them in, without what no tensor in `wanted` needs."""
    layers = _live(_with_conditions(layers), wanted)
    members, chains = _loops(layers)
    inside: dict[int | None, list[Layer]] = {loop: [] for loop in (None, *chains)}
    for layer, loops in zip(layers, members, strict=True):
        inside[_innermost(loops, chains)].append(layer)

    def region(loop: int | None, wanted: frozenset[str]) -> tuple[Node, ...]:
        own = [layer for layer in inside[loop] if not (layer.kind in BOUNDS and layer.scope == loop)]
        inner = [child for child, chain in chains.items() if _innermost(chain - {child}, chains) == loop]
        return _with_branches(in_order([*own, *map(nested, inner)], wanted), wanted)

    def nested(loop: int) -> Loop:
        bounds = tuple(layer for layer in inside[loop] if layer.kind in BOUNDS and layer.scope == loop)
        return Loop(bounds=bounds, body=region(loop, read_by(bounds)))

    return region(None, wanted)


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


def in_order(nodes: Iterable[Node], wanted: frozenset[str]) -> list[Node]:
    """The nodes that `wanted` needs and the assertions, each after those whose results it reads."""
    makers = {name: node for node in nodes for name in node.writes}
    asserting = [node for node in nodes if isinstance(node, Layer) and node.kind == "ASSERTION"]
    pending = [*asserting, *(makers[name] for name in sorted(wanted) if name in makers)]
    order: dict[Node, None] = {}
    while pending:  # not by recursion, for an unrolled network is thousands of layers deep
        node = pending[-1]
        before = [makers[name] for name in sorted(node.reads) if name in makers and makers[name] not in order]
        if before and node not in order:
            pending += before
        else:
            order.setdefault(pending.pop())
    return list(order)


def read_by(nodes: Iterable[Node]) -> frozenset[str]:
    """All tensors that the nodes read."""
    return frozenset().union(*(node.reads for node in nodes))


def written_by(nodes: Iterable[Node]) -> frozenset[str]:
    """All tensors that the nodes write."""
    return frozenset().union(*(node.writes for node in nodes))


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


def _innermost(loops: frozenset[int], chains: dict[int, frozenset[int]]) -> int | None:
    return max(loops, key=lambda loop: len(chains[loop]), default=None)


def _with_conditions(layers: Sequence[Layer]) -> list[Layer]:
    """Each conditional's output with its condition as the first input, in place of a layer for the condition."""
    conditions = {layer.scope: layer.inputs[0] for layer in layers if layer.kind == "CONDITION"}
    # Nothing marks to which branch an assertion belongs, and that of the branch not taken may not hold.
    dropped = ("CONDITION", "ASSERTION") if conditions else ()
    return [
        replace(layer, inputs=(conditions[layer.scope], *layer.inputs)) if layer.kind == "CONDITIONAL_OUTPUT" else layer
        for layer in layers
        if layer.kind not in dropped
    ]


def _with_branches(nodes: list[Node], wanted: frozenset[str]) -> tuple[Node, ...]:
    """The nodes with each conditional as one of them, which takes along what only its branches need."""
    choices = [node for node in nodes if isinstance(node, Layer) and node.kind == "CONDITIONAL_OUTPUT"]
    if not choices:
        return tuple(nodes)
    outputs = tuple(layer for layer in choices if layer.scope == choices[0].scope)
    branches = tuple(_branch(nodes, outputs, place, wanted) for place in (1, 2))
    moved = {*outputs, *branches[0], *branches[1]}
    rest = [node for node in nodes if node not in moved]
    whole = Conditional(
        outputs=outputs,
        branches=tuple(_with_branches(own, _inputs(outputs, place)) for place, own in enumerate(branches, 1)),
    )
    return _with_branches(in_order([*rest, whole], wanted), wanted)


def _branch(nodes: Sequence[Node], outputs: Sequence[Layer], place: int, wanted: frozenset[str]) -> list[Node]:
    """The nodes that are needed for one input of a conditional's outputs and for nothing else."""
    blind = {
        output: replace(output, inputs=(*output.inputs[:place], *output.inputs[place + 1 :])) for output in outputs
    }
    elsewhere = {*in_order([blind.get(node, node) if isinstance(node, Layer) else node for node in nodes], wanted)}
    own = [node for node in nodes if node not in elsewhere and node not in outputs]
    return in_order(own, _inputs(outputs, place))


def _inputs(outputs: Iterable[Layer], place: int) -> frozenset[str]:
    return frozenset(tensor.name for layer in outputs if (tensor := layer.inputs[place]) is not None)
