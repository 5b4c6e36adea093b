"""Scores of every frame beside every other, from the product that makes them to the weights that attention sums by.

They have two axes of time, those of the frames that see and of those that are seen, last.
"""

from collections.abc import Iterator
from typing import Any

from torch.fx import Node

from rnnx.tracing.streams.fills import is_fill
from rnnx.tracing.streams.operands import name_of, refused
from rnnx.tracing.streams.stream_plan import Scores, StreamPlan

RESHAPES = frozenset(("view", "reshape", "_unsafe_view", "unflatten", "view_copy", "expand", "expand_as"))

SOFTMAX = frozenset(("softmax", "_softmax"))

PRODUCTS = frozenset(("matmul", "bmm", "baddbmm", "einsum"))

_BETWEEN = frozenset(
    (
        "add",
        "sub",
        "mul",
        "div",
        "masked_fill",
        "where",
        "dropout",
        "to",
        "_to_copy",
        "clone",
        "contiguous",
        "detach",
        "alias",
        "unsqueeze",
        "squeeze",
        "clamp",
        "tanh",
        "nan_to_num",
    )
)
"""Operators that treat every score alike."""

_REASON = "relates every frame to every other"


def is_square(plan: StreamPlan, node: Node) -> bool:
    """Whether a value has an entry for every frame beside every other."""
    return len(plan.axes.time_axes(getattr(node.meta.get("val"), "shape", ()))) == 2


def add_square_rule(plan: StreamPlan, node: Node) -> None:
    """Scores and what is made of them. A mask that no input decides is refused too: attention computes it itself.

    Raises:
        StreamingError: they are no attention's.
    """
    shape, name = node.meta["val"].shape, name_of(node).rstrip("_")
    before = [plan.scores[own] for own in node.all_input_nodes if own in plan.scores]
    last = plan.axes.time_axes(shape) == (len(shape) - 2, len(shape) - 1)
    if plan.fixed.is_fixed(node) or not last:
        raise refused(node, _REASON)
    if not before and name in PRODUCTS and _is_product_of_frames(plan, node):
        plan.scores[node] = Scores(products=(node,), nodes=(node,))
        return
    known = name in _BETWEEN or name in RESHAPES or (name in SOFTMAX and _softmax_axis(node) == len(shape) - 1)
    others = [own for own in node.all_input_nodes if own not in plan.scores]
    if not before or not known or not all(_is_beside(plan, own) for own in others):
        raise refused(node, _REASON)
    plan.scores[node] = Scores(
        products=tuple(dict.fromkeys(one for own in before for one in own.products)),
        nodes=(*dict.fromkeys(one for own in before for one in own.nodes), node),
    )


def factors(node: Node) -> tuple[Node, Node]:
    """The two values that a product multiplies, in order."""
    found: Any = node.args[1] if name_of(node) == "einsum" else node.args[-2:]
    if name_of(node) == "baddbmm":
        found = node.args[1:3]
    return found[0], found[1]


def pair_of(plan: StreamPlan, node: Node) -> tuple[Node, Node]:
    """The frames that see and those that are seen, of a product; raises StreamingError of any other product."""
    first, second = factors(node)
    rank = len(node.meta["val"].shape)
    for seeing, seen in ((first, second), (second, first)):
        if seeing is not seen and (
            _place(node, seeing, plan.times[seeing].axis) == rank - 2
            and _place(node, seen, plan.times[seen].axis) == rank - 1
        ):
            return seeing, seen
    raise refused(node, _REASON)


def sums_over_seen(plan: StreamPlan, node: Node, weights: Node, value: Node) -> bool:
    """Whether a product of weights and frames sums over the frames that are seen."""
    rank, axis = len(weights.meta["val"].shape), plan.times[value].axis
    if name_of(node) == "einsum":
        terms, _ = _terms(node)
        own = dict(zip(factors(node), terms, strict=True))
        letter = _letter(own[weights], rank - 1, rank)
        return bool(letter) and letter == _letter(own[value], axis, len(value.meta["val"].shape))
    return name_of(node) != "baddbmm" and factors(node) == (weights, value) and axis == len(value.meta["val"].shape) - 2


def _is_product_of_frames(plan: StreamPlan, node: Node) -> bool:
    return len(node.args) >= 2 and all(own in plan.times and not plan.times[own].is_joined for own in factors(node))


def _is_beside(plan: StreamPlan, node: Node) -> bool:
    """Whether a value may be put beside scores: a mask that no input decides, or one without time."""
    if is_square(plan, node) or is_fill(node):
        return plan.fixed.is_fixed(node)
    return node not in plan.times and node not in plan.positions and node not in plan.lasts and node not in plan.broken


def _place(product: Node, own: Node, axis: int) -> int:
    """Where an axis of a factor is in the product; -1 where it is summed over."""
    rank = len(product.meta["val"].shape)
    inner = len(own.meta["val"].shape)
    if name_of(product) != "einsum":
        is_first = factors(product)[0] is own
        return rank - 2 if is_first and axis == inner - 2 else rank - 1 if not is_first and axis == inner - 1 else -1
    terms, result = _terms(product)
    letter = _letter(dict(zip(factors(product), terms, strict=True))[own], axis, inner)
    places = [place for place in range(rank) if _letter(result, place, rank) == letter]
    return places[0] if letter and places else -1


def _terms(node: Node) -> tuple[list[str], str]:
    """The terms of an einsum's two factors, and of its result."""
    equation = str(node.args[0]).replace(" ", "")
    terms, _, result = equation.partition("->")
    return [*terms.split(","), ""][:2], result


def _letter(term: str, axis: int, rank: int) -> str:
    """The letter of an axis; empty of one that the dots stand for."""
    head, dots, tail = term.partition("...")
    if axis < len(head):
        return head[axis]
    return tail[axis - rank] if dots and rank - axis <= len(tail) else ""


def _softmax_axis(node: Node) -> int:
    dim: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", -1)
    return int(dim) % len(node.meta["val"].shape)


def softmax_of(scores: Scores) -> Node | None:
    """The softmax that scores have gone through."""
    return next((own for own in scores.nodes if name_of(own) in SOFTMAX), None)


def between(scores: Scores) -> Iterator[Node]:
    """What is computed of the products."""
    return (own for own in scores.nodes if own not in scores.products)
