"""What the body of a Loop or Scan carries from step to step: states, counters, and values that never change.

https://onnx.ai/onnx/operators/onnx__Loop.html and `onnx__Scan.html`: a Loop's body takes the step's number and the
condition first, then what is carried; a Scan's takes what is carried first, then a slice of each scanned input.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from rnnx.linting.rules.scopes import Scope, is_onnx, scanned_count

_HANDING_ON = ("Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape")
_DEEPEST = 12


@dataclass(frozen=True, kw_only=True)
class Carried:
    """A carried value: the holder's input, the body's input, the body's output, the holder's output ('' without)."""

    first: str
    inside: str
    following: str
    last: str


def carried_values(body: Scope) -> Iterator[Carried]:
    """Everything that a body hands to its next round; nothing for a scope that is no body of a loop."""
    holder, graph = body.holder, body.graph
    if holder is None or graph is None or not is_onnx(holder, "Loop", "Scan"):
        return
    if is_onnx(holder, "Loop"):
        firsts, insides, followings = holder.input[2:], graph.input[2:], graph.output[1:]
    else:
        count = len(holder.input) - scanned_count(holder)
        firsts, insides, followings = holder.input[:count], graph.input[:count], graph.output[:count]
    lasts = [*holder.output, *[""] * len(firsts)]
    for first, inside, following, last in zip(firsts, insides, followings, lasts, strict=False):
        yield Carried(first=first, inside=inside.name, following=following.name, last=last)


def is_kept(body: Scope, own: Carried) -> bool:
    """Whether a carried value is the same at every step."""
    return handed_from(body, own.following) == own.inside


def is_counter(body: Scope, own: Carried) -> bool:
    """Whether a carried value is itself and a constant at the next step."""
    node = body.producer(handed_from(body, own.following))
    if node is None or not is_onnx(node, "Add"):
        return False
    sources = [handed_from(body, name) for name in node.input]
    others = [name for name in sources if name != own.inside]
    return own.inside in sources and all(body.tensor(name) is not None for name in others)


def states_of(body: Scope) -> tuple[Carried, ...]:
    """The carried values that are neither kept, nor counters, nor lists that the body only appends to."""
    return tuple(
        own
        for own in carried_values(body)
        if not is_kept(body, own) and not is_counter(body, own) and not _is_list(body, own)
    )


def source_outside(body: Scope, name: str) -> tuple[Scope | None, str]:
    """The value around a body that one of its values is at every step, and the scope of that; itself where none is."""
    name = handed_from(body, name)
    if body.producer(name) is not None or body.outer is None:
        return body, name
    kept = next((own for own in carried_values(body) if own.inside == name and is_kept(body, own)), None)
    is_own = body.graph is not None and any(value.name == name for value in body.graph.input)
    if is_own and kept is None:
        return body, name
    return body.outer, handed_from(body.outer, kept.first if kept else name)


def handed_from(scope: Scope, name: str) -> str:
    """The value that a tensor is under another name, type or rank."""
    for _ in range(_DEEPEST):
        node = scope.producer(name)
        if node is None or not is_onnx(node, *_HANDING_ON):
            break
        name = node.input[0]
    return name


def _is_list(body: Scope, own: Carried) -> bool:
    node = body.producer(own.following)
    return node is not None and is_onnx(node, "SequenceInsert")
