"""How a model is called with named tensors, and what its results are called."""

import dataclasses
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils import _pytree as pytree

from rnnx.errors import ExportError, OptionError
from rnnx.tracing.loops.operators import python_loops


@dataclass(frozen=True, kw_only=True)
class CallSignature:
    """The tensors among a call's arguments by name, in order, and the arguments around them.

    `leaves` are all values of the nested arguments with None in the tensors' `places`; `structure` nests them.
    """

    names: tuple[str, ...]
    places: tuple[int, ...]
    leaves: tuple[Any, ...]
    structure: pytree.TreeSpec

    def call(self, module: nn.Module, tensors: Sequence[Tensor]) -> Any:
        """The module's result for these tensors; PyTorch's operators for loops run as Python."""
        leaves = list(self.leaves)
        for place, tensor in zip(self.places, tensors, strict=True):
            leaves[place] = tensor
        args, kwargs = pytree.tree_unflatten(leaves, self.structure)
        with python_loops():
            return module(*args, **kwargs)


def read_signature(
    module: nn.Module, example_inputs: tuple[Any, ...] | Mapping[str, Any]
) -> tuple[CallSignature, tuple[Tensor, ...]]:
    """A model's signature and the example's tensors, named as `forward` names its parameters.

    Raises:
        OptionError: no tuple and no mapping, arguments that `forward` does not take, or a value that is no input.
    """
    args, kwargs = _arguments(example_inputs)
    roots = _parameter_names(module, args, kwargs)
    paths, structure = pytree.tree_flatten_with_path((args, kwargs), is_leaf=_is_packed)
    names, places, tensors = [], [], []
    for place, (path, leaf) in enumerate(paths):
        inner = re.sub(r"\W", "_", "".join(f"_{_key(entry)}" for entry in path[2:]))
        name = f"{roots[_key(path[0]), _key(path[1])]}{inner}"
        if isinstance(leaf, Tensor):
            names.append(name)
            places.append(place)
            tensors.append(leaf.detach().clone())  # forward may write into its inputs
        else:
            _refuse_foreign(name, leaf)
    if not names:
        raise _bad_example("no tensor", "at least one tensor", "give the inputs that the model is called with")
    leaves = tuple(None if place in places else leaf for place, (_, leaf) in enumerate(paths))
    return CallSignature(names=tuple(names), places=tuple(places), leaves=leaves, structure=structure), tuple(tensors)


def named_as(signature: CallSignature, names: Sequence[str] | None) -> CallSignature:
    """The signature under the names that the caller chose, where there are any; every name stands once.

    Raises:
        OptionError: too few, too many or equal names, or several inputs that have no name of their own.
    """
    if names is None:
        unnamed = [name for name in signature.names if name.startswith("*")]
        if unnamed:
            raise OptionError(
                "input_names",
                got=f"none for {len(unnamed)} inputs that forward(*args) does not name",
                expected="a name for each",
                remedy=f"give input_names with {len(signature.names)} names, or name the parameters of forward",
            )
        return signature
    _check_names("input_names", names, len(signature.names))
    return replace(signature, names=tuple(names))


def named_outputs(result: Any, names: Sequence[str] | None = None) -> dict[str, Tensor]:
    """A model's results by name: `output` for one tensor, a dict's keys or a dataclass's fields, else `output_0`, ….

    Raises:
        ExportError: a result that is no tensor.
        OptionError: `names` does not fit.
    """
    paths, _ = pytree.tree_flatten_with_path(_opened(result), is_leaf=_is_packed)
    kept = [(path, leaf) for path, leaf in paths if leaf is not None]
    for path, leaf in kept:
        if not isinstance(leaf, Tensor):
            raise _foreign_result(pytree.keystr(path), leaf)
    if names is None:
        found = [_output_name(path, index) for index, (path, _) in enumerate(kept)]
        names = [name if found.count(name) == 1 else f"{name}_{index}" for index, name in enumerate(found)]
    _check_names("output_names", names, len(kept))
    return {name: leaf for name, (_, leaf) in zip(names, kept, strict=True)}


def _arguments(example_inputs: object) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(example_inputs, Mapping):
        return (), {str(name): value for name, value in example_inputs.items()}
    if isinstance(example_inputs, tuple | list):
        return tuple(example_inputs), {}
    got = f"a {type(example_inputs).__name__}"
    raise _bad_example(got, "a tuple of inputs, or a dict by name", "write (x,) for one tensor")


def _parameter_names(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[tuple[str, str], str]:
    """The name of each argument, by place: (`0`, index) for a positional one, (`1`, keyword) for a named one."""
    try:
        parameters = inspect.signature(module.forward)
        parameters.bind(*args, **kwargs)
    except TypeError as error:
        raise _bad_example(
            str(error), f"the arguments of {type(module).__name__}.forward", "give each that has no default"
        ) from None
    names = {("1", name): name for name in kwargs}
    positional = list(parameters.parameters.values())
    for index in range(len(args)):
        own = positional[min(index, len(positional) - 1)]
        variadic = own.kind is inspect.Parameter.VAR_POSITIONAL or index >= len(positional)
        names["0", str(index)] = f"*{own.name}_{index}" if variadic else own.name
    return names


def _is_packed(value: Any) -> bool:
    """Whether pytree would take a packed sequence apart, which is a tuple."""
    return isinstance(value, PackedSequence)


def _opened(result: Any) -> Any:
    """A result with every dataclass in it as a dict, which pytree takes apart."""

    def opened(leaf: Any) -> Any:
        if not dataclasses.is_dataclass(leaf) or isinstance(leaf, type):
            return leaf
        return {own.name: _opened(getattr(leaf, own.name)) for own in dataclasses.fields(leaf)}

    return pytree.tree_map(opened, result, is_leaf=_is_packed)


def _key(entry: Any) -> str:
    for attribute in ("key", "idx", "name"):
        if hasattr(entry, attribute):
            return str(getattr(entry, attribute))
    return str(entry)


def _output_name(path: tuple[Any, ...], index: int) -> str:
    if not path:
        return "output"
    if all(isinstance(entry, pytree.SequenceKey) for entry in path):
        return f"output_{index}"
    keys = re.sub(r"\W", "_", "_".join(map(_key, path)))
    return keys if keys.isidentifier() else f"output_{keys}"


def _refuse_foreign(name: str, leaf: Any) -> None:
    """Refuse what is neither a tensor nor a constant that the graph can keep."""
    if leaf is None or isinstance(leaf, bool | int | float | str | torch.dtype | torch.device):
        return
    remedy = "give a tensor"
    if isinstance(leaf, PackedSequence):
        remedy = "take the padded tensor and lengths as inputs, and call pack_padded_sequence inside forward"
    raise _bad_example(f"{name} = a {type(leaf).__name__}", "tensors, numbers, text or None", remedy)


def _check_names(option: str, names: Sequence[str], count: int) -> None:
    bad = [name for name in names if not isinstance(name, str) or not name.isidentifier()]
    if isinstance(names, str) or len(names) != count or len(set(names)) != count or bad:
        raise OptionError(
            option,
            got=repr(names if isinstance(names, str) else tuple(names)),
            expected=f"{count} different names of letters, digits and underscores",
            remedy=f"the model has {count}: name each once",
        )


def _foreign_result(place: str, leaf: Any) -> ExportError:
    remedy = "return tensors alone"
    if isinstance(leaf, PackedSequence):
        remedy = "call pad_packed_sequence before you return it"
    return ExportError(
        f"result{place} of the model", got=f"a {type(leaf).__name__}", expected="a tensor", remedy=remedy
    )


def _bad_example(got: str, expected: str, remedy: str) -> OptionError:
    return OptionError("example inputs", got=got, expected=expected, remedy=remedy)
