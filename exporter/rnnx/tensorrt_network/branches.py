"""Conditionals: which layers belong to which branch, so that only the one taken runs.

Inside a branch is whatever nothing else needs.
https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/work-with-conditionals.html
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from rnnx.tensorrt_network.layers import Layer
from rnnx.tensorrt_network.structure import Conditional, Node, in_order


def with_conditions(layers: Sequence[Layer]) -> list[Layer]:
    """Each conditional's output with its condition as the first input, in place of a layer for the condition."""
    conditions = {layer.scope: layer.inputs[0] for layer in layers if layer.kind == "CONDITION"}
    # Nothing marks to which branch an assertion belongs, and that of the branch not taken may not hold.
    dropped = ("CONDITION", "ASSERTION") if conditions else ()
    return [
        replace(layer, inputs=(conditions[layer.scope], *layer.inputs)) if layer.kind == "CONDITIONAL_OUTPUT" else layer
        for layer in layers
        if layer.kind not in dropped
    ]


def with_branches(nodes: list[Node], wanted: frozenset[str]) -> tuple[Node, ...]:
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
        branches=tuple(with_branches(own, _inputs(outputs, place)) for place, own in enumerate(branches, 1)),
    )
    return with_branches(in_order([*rest, whole], wanted), wanted)


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
