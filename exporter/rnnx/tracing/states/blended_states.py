"""States that a model blends element by element with what it computes, as gates do: `f * c + i * g`."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node

from rnnx_runtime.contract import StatePair

# fmt: off
_ELEMENTWISE = frozenset((
    "add", "sub", "mul", "div", "neg", "rsub", "where", "lerp", "addcmul", "masked_fill", "clamp", "maximum", "minimum",
    "sigmoid", "tanh", "relu", "elu", "exp", "to", "_to_copy", "clone", "contiguous", "alias", "detach", "dropout",
))
# fmt: on
"""Operators in which each element of the result comes from the same element of each operand."""

_GATES = frozenset(("mul", "where", "lerp", "addcmul"))

_STATE_NAME = re.compile(r"(^|_)(h|c|hx|cx|h0|c0|hid|hidden|cell|state|states|carry|mem)(_|\d|$)")
"""What forward calls its states, where no gate tells them."""


def blended_pairs(program: ExportedProgram, names: list[str], outputs: tuple[str, ...]) -> tuple[StatePair, ...]:
    """The states of a model without recurrent layers: an input and the one result of its shape that blends it.

    Beside such a state, such as `c`, the input at the same distance as the result is its partner, such as `h`.
    """
    nodes = {node.name: node for node in program.graph.nodes}
    order = {node: place for place, node in enumerate(program.graph.nodes)}
    given = {name: nodes[own] for own, name in zip(program.graph_signature.user_inputs, names, strict=True)}
    results = {name: nodes[str(own)] for own, name in zip(program.graph_signature.user_outputs, outputs, strict=True)}
    computed = _reached(given.values())
    blends = {name: _blends(node, computed, named=bool(_STATE_NAME.search(name))) for name, node in given.items()}
    found = dict[str, str]()
    for name, node in given.items():
        own = [
            output
            for output, result in results.items()
            if alike(node, result)
            and result in blends[name]
            and not any(result in blends[other] and alike(given[other], result) for other in given if other != name)
        ]
        if own:  # the first, such as the next `c`, which `o * c.tanh()` is computed from; of equal ones the last
            first = min(order[results[output]] for output in own)
            found[name] = [output for output in own if order[results[output]] == first][-1]
    found |= dict(_partners(found, given, results))
    return tuple(StatePair(input=name, output=found[name]) for name in names if name in found)


def blended_sources(node: Node) -> set[Node]:
    """Where the parts of a value come from that are blended with each other: the first nodes that do more than that."""
    found, waiting, seen = set[Node](), [node], set[Node]()
    while waiting:
        own = waiting.pop()
        if own in seen:
            continue
        seen.add(own)
        if operator_name(own) in _ELEMENTWISE:
            waiting += [before for before in own.all_input_nodes if alike(before, node)]
        else:
            found.add(own)
    return found


def alike(first: Node, second: Node) -> bool:
    """Whether two values have one dtype and one shape."""
    one, other = first.meta.get("val"), second.meta.get("val")
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return False
    return bool(one.dtype == other.dtype and str(tuple(one.shape)) == str(tuple(other.shape)))


def operator_name(node: Node) -> str:
    """The name of a node's operator, without its overload."""
    return str(getattr(node.target, "__name__", node.target)).split(".")[0]


def _partners(
    found: Mapping[str, str], given: Mapping[str, Node], results: Mapping[str, Node]
) -> Iterator[tuple[str, str]]:
    """The state beside one that is known, `(h, c)` of an LSTM: named as one, of its shape, and as far as its result."""
    names, outputs = list(given), list(results)
    for name, output in found.items():
        for step in (-1, 1):
            place, other = names.index(name) + step, outputs.index(output) + step
            if not (0 <= place < len(names) and 0 <= other < len(outputs)):
                continue
            own, result = names[place], outputs[other]
            shapes_fit = alike(given[own], given[name]) and alike(results[result], given[name])
            is_free = own not in found and result not in found.values() and bool(_STATE_NAME.search(own))
            if is_free and shapes_fit and results[result] in _reached([given[own]]):
                yield own, result
                return


def _reached(starts: Any) -> set[Node]:
    """Every node whose value comes from the values of these."""
    seen, waiting = set[Node](), list(starts)
    while waiting:
        own = waiting.pop()
        if own not in seen and isinstance(own.meta.get("val"), Tensor | tuple | list):
            seen.add(own)
            waiting += own.users
    return seen


def _blends(start: Node, computed: set[Node], *, named: bool) -> set[Node]:
    """The values that blend an input with others element by element, past a gate that is computed from inputs."""
    seen, waiting = set[tuple[Node, bool]](), [(start, named)]
    while waiting:
        own, gated = waiting.pop()
        for user in own.users:
            if operator_name(user) not in _ELEMENTWISE or not alike(user, start):
                continue
            others = [node for node in user.all_input_nodes if node is not own and node in computed]
            after = (user, gated or (operator_name(user) in _GATES and bool(others)))
            if after not in seen:
                seen.add(after)
                waiting.append(after)
    return {node for node, gated in seen if gated}
