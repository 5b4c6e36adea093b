"""Operators of a step for all steps at once: on tensors with time as one more axis, the first."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Every:
    """A value of all steps, time first: the tensor has one axis more than at one step."""

    tensor: Tensor


Rule = Callable[[Any, Sequence[Any], Mapping[str, Any], Any], Any]
"""The result for all steps, from an operator, its arguments with some `Every` among them, and how many steps."""


def rule_of(name: str) -> Rule | None:
    """How an operator of this name, such as `linear`, is computed for all steps; None where it is not known."""
    return _RULES.get(name)


def gathered(operator: Any, tensors: Sequence[Any], axis: int, count: Any) -> Tensor:
    """A `stack` or `cat` of one step's tensors."""
    parts = [own.tensor if isinstance(own, Every) else _repeated(own, count) for own in tensors]
    found: Tensor = operator(parts, axis + 1 if axis >= 0 else axis)
    return found


def each(value: Any, count: Any) -> Tensor:
    """A value as a tensor of all steps."""
    return value.tensor if isinstance(value, Every) else _repeated(value, count)


def _repeated(tensor: Tensor, count: Any) -> Tensor:
    return tensor.unsqueeze(0).expand(count, *tensor.shape)


def _element_by_element(operator: Any, args: Sequence[Any], kwargs: Mapping[str, Any], count: Any) -> Any:
    """Tensors of fewer axes are broadcast from the last axis on, as at one step."""
    rank = max(_rank(own) for own in (*args, *kwargs.values()))

    def aligned(own: Any) -> Any:
        if not isinstance(own, Every):
            return own
        tensor, missing = own.tensor, rank - _rank(own)
        return tensor.reshape([tensor.shape[0], *[1] * missing, *tensor.shape[1:]]) if missing else tensor

    return operator(*map(aligned, args), **{name: aligned(own) for name, own in kwargs.items()})


def _rank(own: Any) -> int:
    if isinstance(own, Every):
        return own.tensor.dim() - 1
    return own.dim() if isinstance(own, Tensor) else 0


def _on_argument(place: int) -> Rule:
    """An operator that takes any number of leading axes in one argument, and weights in the others."""

    def rule(operator: Any, args: Sequence[Any], kwargs: Mapping[str, Any], count: Any) -> Any:
        if any(isinstance(own, Every) for number, own in enumerate(args) if number != place):
            raise NotImplementedError("weights that differ from step to step")
        return operator(*args[:place], args[place].tensor, *args[place + 1 :], **kwargs)

    return rule


def _along(places: tuple[int, ...], *, default: int | None = None) -> Rule:
    """An operator that takes axes, as numbers or lists of them, as arguments at these places."""

    def rule(operator: Any, args: Sequence[Any], kwargs: Mapping[str, Any], count: Any) -> Any:
        first, *rest = args
        while default is not None and len(rest) < places[0]:
            rest.append(default)
        for place in places:
            rest[place - 1] = _moved(rest[place - 1])
        return operator(first.tensor, *rest, **kwargs)

    return rule


def _moved(axis: Any) -> Any:
    if isinstance(axis, list | tuple):
        return [_moved(own) for own in axis]
    return axis + 1 if axis >= 0 else axis


_ELEMENTWISE = (
    "add", "sub", "mul", "div", "neg", "abs", "exp", "log", "sqrt", "square", "pow", "reciprocal", "rsub",
    "relu", "sigmoid", "tanh", "gelu", "silu", "elu", "leaky_relu", "hardtanh", "hardsigmoid", "softplus", "mish",
    "sin", "cos", "clamp", "where", "maximum", "minimum", "logical_not", "gt", "lt", "ge", "le", "eq", "ne",
    "masked_fill", "dropout", "feature_dropout", "clone", "contiguous", "to",
)  # fmt: skip

_RULES: dict[str, Rule] = {
    **dict.fromkeys(_ELEMENTWISE, _element_by_element),
    **dict.fromkeys(("linear", "layer_norm"), _on_argument(0)),
    "embedding": _on_argument(1),
    **dict.fromkeys(("softmax", "log_softmax", "unsqueeze", "sum", "mean", "select", "slice"), _along((1,))),
    "transpose": _along((1, 2)),
    **dict.fromkeys(("chunk", "split", "split_with_sizes"), _along((2,), default=0)),
    "glu": _along((1,), default=-1),
}
