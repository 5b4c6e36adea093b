"""Random numbers that `forward` draws, so that no two runs are alike: refused, or at their mean on request."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node
from torch.overrides import TorchFunctionMode

from rnnx.errors import ExportError
from rnnx.modules.source_lines import line_of_node

_SWITCHES = ("train", "training")
_CHANCES = ("p", "dropout_p")

_SWITCHED = {
    "dropout": 2,
    "dropout_": 2,
    "alpha_dropout": 2,
    "alpha_dropout_": 2,
    "feature_dropout": 2,
    "feature_dropout_": 2,
    "feature_alpha_dropout": 2,
    "feature_alpha_dropout_": 2,
    "dropout1d": 2,
    "dropout2d": 2,
    "dropout3d": 2,
    "native_dropout": 2,
    "rrelu": 3,
    "rrelu_": 3,
    "multi_head_attention_forward": None,
}
"""Functions that a switch turns on, and the switch's place among their arguments where it has one."""


class MeansOfRandomNumbers(TorchFunctionMode):
    """Inside the block, dropout that is on lets its input through, and noise is its mean; `replaced` names what was.

    Uniform numbers and samples stay random, for a mean stands for none of what is made of them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.replaced: dict[str, None] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """What a report says of it."""
        names = ", ".join(self.replaced)
        return (f"deterministic: dropout is off and noise is at its mean ({names})",) if names else ()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name, kwargs = getattr(func, "__name__", ""), dict(kwargs or {})
        if name in _SWITCHED:
            args, kwargs = self._switched_off(name, args, kwargs)
        elif name == "scaled_dot_product_attention":
            args, kwargs = self._without_dropout(name, args, kwargs)
        elif name in _MEANS:
            self.replaced[name] = None
            kwargs.pop("generator", None)
            return _MEANS[name](*args, **kwargs)
        return func(*args, **kwargs)

    def _switched_off(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        place = _SWITCHED[name]
        for switch in _SWITCHES:
            if kwargs.get(switch) is True:
                self.replaced[name.strip("_")] = None
                kwargs[switch] = False
        if place is not None and args[place : place + 1] == (True,):
            self.replaced[name.strip("_")] = None
            args = (*args[:place], False, *args[place + 1 :])
        return args, kwargs

    def _without_dropout(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if kwargs.get("dropout_p"):
            self.replaced[name] = None
            kwargs["dropout_p"] = 0.0
        if args[4:5] not in ((), (0.0,)):
            self.replaced[name] = None
            args = (*args[:4], 0.0, *args[5:])
        return args, kwargs


def refuse_random_numbers(program: ExportedProgram, subject: str, *, deterministic: bool = False) -> None:
    """Refuse a program that draws random numbers; dropout that is switched off draws none.

    Raises:
        ExportError: it draws some; names the model's line.
    """
    for node in _drawing(program):
        raise ExportError(
            f"{subject}, {line_of_node(node.meta)}",
            got=f"random numbers drawn in forward ({node.target})",
            expected="dropout, or noise with a mean that can stand for it"
            if deterministic
            else "the same results for the same inputs",
            remedy="take them as an input, or switch them off outside of training: F.dropout(x, p, self.training)"
            + (
                ""
                if deterministic
                else "; or give --deterministic (deterministic=True): dropout off, noise at its mean"
            ),
        )


def _drawing(program: ExportedProgram) -> Iterator[Node]:
    for node in program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if schema is None or torch.Tag.nondeterministic_seeded not in node.target.tags:
            continue
        given = dict(zip((own.name for own in schema.arguments), node.args, strict=False)) | node.kwargs
        values = {own.name: given.get(own.name, own.default_value) for own in schema.arguments}
        is_off = any(values.get(name) is False for name in _SWITCHES) or any(values.get(own) == 0 for own in _CHANCES)
        if not is_off:
            yield node


def _normal(mean: Any, std: Any = 1.0, size: Any = None, *, out: Tensor | None = None, **options: Any) -> Tensor:
    if size is not None:
        found = torch.full(tuple(size), float(mean), **options)
    elif isinstance(mean, Tensor):
        found = mean + torch.zeros_like(std) if isinstance(std, Tensor) else mean.clone()
    else:
        found = torch.full_like(std, mean)
    return found if out is None else out.copy_(found)


def _normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    return tensor.fill_(mean)


def _bernoulli(chances: Tensor, p: float | None = None, *, out: Tensor | None = None) -> Tensor:
    found = chances.clone() if p is None else torch.full_like(chances, p)
    return found if out is None else out.copy_(found)


def _bernoulli_(tensor: Tensor, p: Any = 0.5) -> Tensor:
    return tensor.copy_(p) if isinstance(p, Tensor) else tensor.fill_(p)


_MEANS: dict[str, Callable[..., Tensor]] = {
    "randn": torch.zeros,
    "randn_like": torch.zeros_like,
    "normal": _normal,
    "normal_": _normal_,
    "bernoulli": _bernoulli,
    "bernoulli_": _bernoulli_,
}
"""Functions that draw, and what gives the mean for the same arguments."""
