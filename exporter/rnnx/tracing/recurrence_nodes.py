"""The recurrent layers' calls as nodes of a traced program: their sizes, and where their states come from and go."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.onnx.ops
from torch.export import ExportedProgram
from torch.fx import Node

from rnnx.tracing.opaque_layers import DOMAIN

Size = int | torch.SymInt


@dataclass(frozen=True, kw_only=True)
class RecurrenceNode:
    """One call: the layer, its batch and time (None for a cell, and for what is unbatched), and the node."""

    layer: str
    batch: Size | None
    time: Size | None
    node: Node

    @property
    def states(self) -> tuple[Node, ...]:
        """The nodes that give h0 and c0."""
        return tuple(value for value in self.node.args[0][1:3] if isinstance(value, Node))  # type: ignore[index, union-attr]

    @property
    def last_states(self) -> tuple[Node, ...]:
        """The nodes that read hn and cn."""
        first = len(self.node.meta["val"]) - (2 if len(self.states) == 2 else 1)
        return tuple(user for user in self.node.users if isinstance(user.args[1], int) and user.args[1] >= first)


def recurrence_nodes(program: ExportedProgram) -> Iterator[RecurrenceNode]:
    """Every call of a recurrent layer, in order."""
    for node in program.graph.nodes:
        if node.op == "call_function" and node.kwargs.get("domain") == DOMAIN:
            yield _read(node)


def attribute_of(node: Node, name: str) -> Any:
    """An attribute of a node that stands for a layer or a loop, by its name."""
    return attribute_in(node.kwargs, name)


def attribute_in(attributes: Mapping[str, Any], name: str) -> Any:
    """An attribute among the keywords of such a node."""
    place = attributes["attr_keys"].index(name)
    first, last = attributes["attr_pos"][place]
    kind = attributes["attr_types"][place]
    values = attributes["attr_strs" if kind in ("s", "ss") else "attr_ints"][first:last]
    return values[0] if len(kind) == 1 else values


def is_over_time(node: Node) -> bool:
    """Whether a recurrent layer's node takes at once what a loop gave the layer step by step."""
    return node.kwargs.get("domain") == DOMAIN and "loop" in node.kwargs["attr_keys"]  # type: ignore[operator]


def _read(node: Node) -> RecurrenceNode:
    batch_first, batched = attribute_of(node, "batch_first"), attribute_of(node, "batched")
    sizes = node.args[0][0].meta["val"].shape  # type: ignore[index, union-attr]
    batch, time = (sizes[0], sizes[1]) if batch_first else (sizes[1], sizes[0])
    return RecurrenceNode(
        layer=attribute_of(node, "layer"),
        batch=batch if batched else None,
        time=time if len(sizes) == 3 else None,
        node=node,
    )
