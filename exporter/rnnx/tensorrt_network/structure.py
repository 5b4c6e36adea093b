"""What a network is made of: layers, loops of them, conditionals of them."""

from collections.abc import Iterable
from dataclasses import dataclass

from rnnx.tensorrt_network.layers import Layer


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
