"""Code that `torch.jit.script` compiled, as the Python it was compiled from: a trace would bake sizes in the other."""

import inspect
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from rnnx.errors import ExportError
from rnnx.tracing.operators.float_dtypes import copied
from rnnx.tracing.signature import CallSignature, named_outputs

_TRACED = "torch.jit._trace"


@contextmanager
def python_functions() -> Iterator[None]:
    """Let functions of `torch.jit.script` run as Python in this thread inside the block; a loaded one has none."""
    scripted: Any = torch.jit.ScriptFunction
    owner, compiled = threading.get_ident(), scripted.__call__

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        source = getattr(self, "_torchdynamo_inline", None)
        if source is None or threading.get_ident() != owner:
            return compiled(self, *args, **kwargs)
        return source(*args, **kwargs)

    scripted.__call__ = call
    try:
        yield
    finally:
        scripted.__call__ = compiled


def python_module(module: nn.Module) -> nn.Module:
    """The module with every scripted one in it made of its Python class again; the module itself where there is none.

    What cannot be made again, such as a traced or a loaded module, stays as it is.
    """
    memo: dict[int, Any] = {}
    for own in module.modules():
        if isinstance(own, torch.jit.ScriptModule) and id(own) not in memo:
            made = _made_again(own)
            if made is not None:
                memo[id(own)] = made
    if id(module) in memo:
        found: nn.Module = memo[id(module)]
        return found
    if not memo:
        return module
    kept = {id(value): value for value in module.parameters()}  # the copy's own, for nothing writes into them
    return copied(module, {**kept, **memo})


def check_python_module(
    module: nn.Module, made: nn.Module, signature: CallSignature, tensors: Sequence[Tensor]
) -> None:
    """Refuse a Python module that gives other results for the example than the scripted one that it was made of.

    Raises:
        ExportError: it does, or it fails.
    """
    scripted = [name for name, own in module.named_modules() if isinstance(own, torch.jit.ScriptModule)]
    if not scripted:
        return
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found, expected = (
                named_outputs(signature.call(own, [tensor.clone() for tensor in tensors])) for own in (made, module)
            )
            same = all(
                found[name].allclose(value, rtol=1e-4, atol=1e-5, equal_nan=True) for name, value in expected.items()
            )
            problem = "" if same else "other values from its class in Python"
        except Exception as error:  # of the class, whose attributes the scripted module keeps in part
            problem = f"{type(error).__name__}: {error} from its class in Python"[:200]
    if problem:
        raise ExportError(
            f"module {scripted[0] or type(module).__name__!r}",
            got=f"a scripted module, and {problem}",
            expected="the Python code that it was scripted from",
            remedy="load its state_dict() into the Python module",
        )


def _made_again(scripted: Any) -> nn.Module | None:
    """A module of the class that was scripted, with the same parameters, buffers, attributes and submodules."""
    described: Any = getattr(scripted, "_concrete_type", None)
    kind = getattr(described, "py_class", None)
    if type(scripted).__module__ == _TRACED or not inspect.isclass(kind) or not issubclass(kind, nn.Module):
        return None
    module: nn.Module = kind.__new__(kind)
    nn.Module.__init__(module)
    attributes = {name: getattr(scripted, name) for name in described.get_attributes()}
    held = {**dict(scripted.named_parameters(recurse=False)), **dict(scripted.named_buffers(recurse=False))}
    for name, value in {**described.get_constants(), **attributes}.items():
        if name not in held and name not in ("_flat_weights", "_all_weights"):
            vars(module)[name] = value
    for name, value in scripted.named_parameters(recurse=False):
        module.register_parameter(name, nn.Parameter(value.detach(), requires_grad=False))
    for name, value in scripted.named_buffers(recurse=False):
        module.register_buffer(name, value)
    for name, own in scripted.named_children():
        inner = _made_again(own)
        if inner is None:
            return None
        module.add_module(name, inner)
    for name in ("bias", "weight", "running_mean", "running_var", "num_batches_tracked"):
        if name not in vars(module) and not hasattr(module, name):
            module.register_parameter(name, None)
    module.training = scripted.training
    if isinstance(module, nn.RNNBase):
        _give_weights(module, attributes)
    return module


def _give_weights(layer: nn.RNNBase, attributes: dict[str, Any]) -> None:
    """The lists in which a recurrent layer keeps its weights by name, which hold the parameters themselves."""
    layer._all_weights = attributes["_all_weights"]
    layer._flat_weights_names = attributes["_flat_weights_names"]
    layer._init_flat_weights()
