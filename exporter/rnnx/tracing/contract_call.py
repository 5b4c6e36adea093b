"""How a module is called with the inputs that its contract names, where only the contract and an example are left."""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rnnx.errors import FactoryError, OptionError
from rnnx.tracing.signature import CallSignature, named_as, read_signature
from rnnx_runtime.array_type import Array
from rnnx_runtime.arrays.dim_sizes import shape_from_sizes, sizes_from_feeds
from rnnx_runtime.contract import Contract

Call = tuple[CallSignature, dict[str, Tensor]]


def calls_of_contract(
    module: nn.Module,
    own: tuple[Any, ...] | Mapping[str, Any] | None,
    contract: Contract,
    example: Mapping[str, Any],
) -> list[Call]:
    """The signatures under the contract's names, and the example's tensors that go into each; lifted states do not.

    The first has most of the contract's inputs as arguments: a state that forward may be given can be lifted as well.

    Args:
        module: what is called.
        own: the example that the module or its factory brings, which shows how arguments are nested.
        contract: what the module was exported as.
        example: the value of every input of the contract.

    Raises:
        FactoryError: `forward` does not take the contract's inputs.
    """
    tensors = tensors_of({spec.name: example[spec.name] for spec in contract.inputs})
    states = {pair.input for pair in contract.states}
    fitting = [
        signature for signature in _signatures(module, own, tensors, states) if _fits(signature, tensors, states)
    ]
    if fitting:
        first_of_names = {signature.names: signature for signature in reversed(fitting)}
        ordered = sorted(first_of_names.values(), key=lambda found: -len(found.names))
        return [(signature, {name: tensors[name] for name in signature.names}) for signature in ordered]
    raise FactoryError(
        f"{type(module).__name__}.forward({', '.join(inspect.signature(module.forward).parameters)})",
        got="no way to call it with the inputs of the contract",
        expected=", ".join(tensors),
        remedy="give the module that was exported; where its arguments are nested or renamed, let the factory return "
        "(module, example_inputs) with the example of the export",
    )


def tensors_of(feeds: Mapping[str, Array]) -> dict[str, Tensor]:
    """Arrays as tensors of their own; halves, which another exporter's file may take, are float32 as the module is."""
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in feeds.items()}
    return {name: own.float() if own.dtype == torch.float16 else own for name, own in tensors.items()}


def example_of_contract(
    module: nn.Module, own: tuple[Any, ...] | Mapping[str, Any] | None, contract: Contract
) -> dict[str, Array]:
    """The example that a module or its factory brings, by the contract's names; states that it leaves out are zeros.

    Raises:
        FactoryError: it brings none, or one that the contract does not fit.
    """
    if own is None:
        raise _no_example(module, "none", contract)
    signature, tensors = read_signature(module, own)
    specs, states = {spec.name: spec for spec in contract.inputs}, {pair.input for pair in contract.states}
    if not {*signature.names} <= specs.keys() and len(tensors) <= len(specs):
        signature = named_as(signature, [*specs][: len(tensors)])  # lifted states come last
    given = {name: _array(tensor) for name, tensor in zip(signature.names, tensors, strict=True)}
    missing = specs.keys() - given.keys()
    if given.keys() - specs.keys() or missing - states:
        raise _no_example(module, ", ".join(given), contract)
    sizes = sizes_from_feeds(tuple(specs[name] for name in given), given)
    zeros = {name: np.zeros(shape_from_sizes(specs[name], sizes)) for name in missing}
    return {name: np.asarray((given | zeros)[name], spec.dtype) for name, spec in specs.items()}


def _array(tensor: Tensor) -> Array:
    """Half precision too, which NumPy may not know."""
    value = tensor.detach().cpu()
    return np.array((value.double() if value.is_floating_point() else value).numpy())


def _no_example(module: nn.Module, got: str, contract: Contract) -> FactoryError:
    return FactoryError(
        f"the example inputs of {type(module).__name__}",
        got=got,
        expected=", ".join(spec.name for spec in contract.inputs),
        remedy="let the factory return (module, example_inputs) with the example of the export, or copy the golden "
        "file along with the model",
    )


def _fits(signature: CallSignature, tensors: Mapping[str, Tensor], states: set[str]) -> bool:
    """Whether a call takes inputs of the contract alone, and all of them but states, which may be lifted."""
    return {*signature.names} <= tensors.keys() and tensors.keys() - {*signature.names} <= states


def _signatures(
    module: nn.Module, own: Any, tensors: Mapping[str, Tensor], states: set[str]
) -> Iterator[CallSignature]:
    """What the call may look like, the surest first."""
    shown = _readable(module, own)
    if shown is not None:
        yield shown
        yield _with_own_constants(shown, own, module, tensors)
    by_name = _readable(module, _arguments_by_name(module, tensors))
    if by_name is not None:
        yield by_name
    if shown is not None:
        yield from _renamed(shown, list(tensors))
    for count in dict.fromkeys((len(tensors), len(tensors.keys() - states))):
        places = _readable(module, tuple(tensors.values())[:count])
        if places is not None:
            yield from _renamed(places, list(tensors))


def _with_own_constants(
    signature: CallSignature, own: Any, module: nn.Module, tensors: Mapping[str, Tensor]
) -> CallSignature:
    """The signature with the inputs that the contract does not have at their values in the module's own example."""
    _, values = read_signature(module, own)
    places = dict(zip(signature.names, signature.places, strict=True))
    leaves = list(signature.leaves)
    for name, value in zip(signature.names, values, strict=True):
        if name not in tensors:
            leaves[places[name]] = value
    kept = tuple(name for name in signature.names if name in tensors)
    return replace(signature, names=kept, places=tuple(places[name] for name in kept), leaves=tuple(leaves))


def _readable(module: nn.Module, arguments: Any) -> CallSignature | None:
    """The signature of a call; None where `forward` cannot be called so."""
    if arguments is None:
        return None
    try:
        return read_signature(module, arguments)[0]
    except OptionError:
        return None


def _renamed(signature: CallSignature, names: Sequence[str]) -> Iterator[CallSignature]:
    """The signature under the contract's names in their order: lifted states come last."""
    count = len(signature.names)
    if count <= len(names):
        yield named_as(signature, names[:count])


def _arguments_by_name(module: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments that have an input's name, and tuples of those whose inputs are `state_0`, `state_1`."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = [name for name, own in inspect.signature(module.forward).parameters.items() if own.kind in kinds]
    found: dict[str, Any] = {name: tensors[name] for name in parameters if name in tensors}
    rest = {name: own for name, own in tensors.items() if name not in found}
    for name in parameters:
        nested = None if name in found else _nested(name, rest)
        if nested is not None:
            found[name] = nested
    return {name: found[name] for name in parameters if name in found}


def _nested(name: str, tensors: Mapping[str, Tensor]) -> Any:
    """The tensor of this name, or the tuple of those below it; None where there is neither."""
    if name in tensors:
        return tensors[name]
    below = [re.match(rf"{re.escape(name)}_(\d+)(?:_|$)", own) for own in tensors]
    places = {int(match[1]) for match in below if match}
    if not places or max(places) >= len(tensors):
        return None
    return tuple(_nested(f"{name}_{place}", tensors) for place in range(max(places) + 1))
