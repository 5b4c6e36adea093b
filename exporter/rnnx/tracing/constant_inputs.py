"""Inputs that a deployment never changes, fixed at one value: a graph has no branch for the other."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import _disable_current_modes

from rnnx.errors import OptionError
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.signature import CallSignature
from rnnx.tracing.states.layer_states import as_states, watched_layers

Constant = str | bool | int | float

_WORDS = {"true": True, "false": False}


def with_constants(
    signature: CallSignature, tensors: Sequence[Tensor], constants: Mapping[str, Constant]
) -> tuple[CallSignature, tuple[Tensor, ...]]:
    """The signature and the example without the inputs that `constants` fix, each at one value in all its places.

    Raises:
        OptionError: a name that is no input, a value that its dtype does not take, or no input is left.
    """
    places = dict(zip(signature.names, signature.places, strict=True))
    examples = dict(zip(signature.names, tensors, strict=True))
    leaves = list(signature.leaves)
    for name, value in constants.items():
        if name not in places:
            raise _refused(name, repr(value), f"one of {', '.join(places)}", "name an input of the model")
        leaves[places[name]] = torch.full_like(examples[name], _read(name, value, examples[name]))
    kept = [name for name in signature.names if name not in constants]
    if not kept:
        raise _refused(", ".join(constants), "every input", "an input that is left", "leave one input as it is")
    fixed = replace(signature, names=tuple(kept), places=tuple(places[name] for name in kept), leaves=tuple(leaves))
    return fixed, tuple(examples[name] for name in kept)


def of_inputs_left(options: ModelOptions) -> ModelOptions:
    """The options without the dims and the lengths of inputs that are constants."""
    dims = {name: own for name, own in options.dims.items() if name not in options.constants}
    return replace(options, dims=dims, lengths=tuple(own for own in options.lengths if own not in options.constants))


def refuse_constant_states(
    module: nn.Module, given: CallSignature, fixed: CallSignature, tensors: Sequence[Tensor], names: Collection[str]
) -> None:
    """Refuse a constant that a recurrent layer takes as its state: it would start anew in every call.

    `given` is the signature with the inputs of these `names`, `fixed` the one without them, `tensors` its example.

    Raises:
        OptionError: names it.
    """
    if not names:
        return
    states = set[int]()

    def record(_: str, __: nn.Module, given: Mapping[str, Any]) -> None:
        states.update(own.untyped_storage().data_ptr() for own in as_states(given.get("hx")) or ())

    with torch.no_grad(), watched_layers(module, record):
        fixed.call(module, [tensor.clone() for tensor in tensors])
    for name, place in zip(given.names, given.places, strict=True):
        if name in names and fixed.leaves[place].untyped_storage().data_ptr() in states:
            raise _refused(name, "a state of a recurrent layer", "an input that is no state", "leave it an input")


def constant_notes(constants: Mapping[str, Constant]) -> tuple[str, ...]:
    """What a report says of them."""
    return tuple(f"input {name} is fixed at {value}" for name, value in constants.items())


def constant_values(signature: CallSignature) -> tuple["TorchFunctionMode", ...]:
    """What a trace needs for the signature's constants, where it has some."""
    known = [leaf for leaf in signature.leaves if isinstance(leaf, Tensor)]
    return (_ConstantValues(known),) if known else ()


class _ConstantValues(TorchFunctionMode):
    """Computes, inside a trace, what is made of constants alone with their values, so that `if flag:` has an answer."""

    def __init__(self, known: Sequence[Tensor]) -> None:
        super().__init__()
        self._known = {id(own): own for own in known}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        leaves = pytree.tree_leaves((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        is_known = bool(tensors) and all(id(own) in self._known for own in tensors)
        if not is_known or any(isinstance(leaf, torch.SymInt | torch.SymFloat) for leaf in leaves):
            return func(*args, **kwargs)
        with _disable_current_modes():
            result = func(*args, **kwargs)
        self._known.update({id(own): own for own in pytree.tree_leaves(result) if isinstance(own, Tensor)})
        return result


def _read(name: str, value: Constant, example: Tensor) -> bool | int | float:
    """The value as the input's dtype takes it."""
    text = str(value).strip().lower()
    if example.dtype == torch.bool:
        found: Any = _WORDS.get(text, {"1": True, "0": False}.get(text))
        expected = "true or false"
    elif example.is_floating_point():
        found, expected = _number(text, float), "a finite number"
    else:
        found, expected = _number(text, int), "a whole number"
        bounds = torch.iinfo(example.dtype)
        found = found if found is not None and bounds.min <= found <= bounds.max else None
    if found is None:
        dtype = str(example.dtype).removeprefix("torch.")
        raise _refused(
            name,
            repr(value),
            f"{expected}, for {name} is {dtype}",
            f"such as {name}={'true' if example.dtype == torch.bool else 0}",
        )
    fixed: bool | int | float = found
    return fixed


def _number(text: str, kind: type[Any]) -> Any:
    try:
        found = kind(text)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _refused(name: str, got: str, expected: str, remedy: str) -> OptionError:
    return OptionError(f"constants {name}", got=got, expected=expected, remedy=remedy)
