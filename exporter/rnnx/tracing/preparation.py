"""A module as it can be traced: unwrapped, on the CPU, in float32, in evaluation mode, and as it was afterwards."""

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from rnnx.errors import ExportError, OptionError
from rnnx.tracing.operators.float_dtypes import copied, in_dtype
from rnnx.tracing.operators.scripted_code import python_module

_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)

_QUANTIZED = ("torch.ao.", "torch.nn.quantized", "torch.nn.qat", "torch.nn.intrinsic", "torch.quantization")

_WEIGHT_HOOKS = "torch.nn.utils."
"""Where the hooks of weight norm and spectral norm of old live, which set a weight before each call."""


def unwrapped(module: Any) -> nn.Module:
    """The model inside `DataParallel` and what `torch.compile` gives, its scripted modules as Python.

    Raises:
        OptionError: no module.
        ExportError: a traced, loaded or quantized module, one in training mode, one without values, or batch norm
            without running statistics.
    """
    if not isinstance(module, nn.Module):
        raise OptionError(
            "module",
            got=type(module).__name__ if not isinstance(module, type) else f"the class {module.__name__}",
            expected="an nn.Module",
            remedy="give an instance of the model with its trained weights",
        )
    while isinstance(module, _WRAPPERS) or hasattr(module, "_orig_mod"):
        module = module.module if isinstance(module, _WRAPPERS) else module._orig_mod
    module = python_module(module)
    for name, own in module.named_modules():
        _refuse_unexportable(name or type(module).__name__, own)
    unwrapped_module: nn.Module = module
    return unwrapped_module


def as_float32(module: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """The module itself where it is float32 on the CPU, else a copy that is; and a note on what changed."""
    _refresh_weights(module)
    tensors = [*module.parameters(), *module.buffers()]
    dtypes = sorted({str(own.dtype).removeprefix("torch.") for own in tensors if own.is_floating_point()} - {"float32"})
    if not dtypes and all(own.device.type == "cpu" for own in tensors):
        return module, ()
    notes = (f"parameters of {', '.join(dtypes)}: exported in float32, inputs and outputs too",) if dtypes else ()
    return in_dtype(module, torch.float32), notes


def isolated(module: nn.Module) -> nn.Module:
    """The module itself; a copy where a call changes its weights, as an embedding with `max_norm` scales its rows."""
    return copied(module) if any(getattr(own, "max_norm", None) is not None for own in module.modules()) else module


@contextmanager
def preserved(module: nn.Module) -> Iterator[None]:
    """The attributes of every submodule as they were, when the block ends: a trace leaves tensors without values."""
    kept = [(own, {key: _copied(value) for key, value in vars(own).items()}) for own in module.modules()]
    try:
        yield
    finally:
        for own, attributes in kept:
            vars(own).clear()
            vars(own).update(attributes)


@contextmanager
def fixed_weights(module: nn.Module) -> Iterator[None]:
    """Weights that a hook or a parametrization would set anew before each call stay as they are inside the block."""
    with ExitStack() as stack, torch.no_grad():
        for own in module.modules():
            if isinstance(own, ParametrizationList):
                weight = own().clone()
                stack.enter_context(mock.patch.object(own, "forward", lambda weight=weight: weight))
            for key, hook in list(own._forward_pre_hooks.items()):
                if _sets_weight(hook):
                    del own._forward_pre_hooks[key]
                    stack.callback(own._forward_pre_hooks.__setitem__, key, hook)
        yield


def _copied(value: Any) -> Any:
    """A shallow copy of the dicts in which a module holds its parameters, buffers, submodules and hooks."""
    return copy.copy(value) if isinstance(value, dict) else value


def _refresh_weights(module: nn.Module) -> None:
    with torch.no_grad():
        for own in module.modules():
            for hook in own._forward_pre_hooks.values():
                if _sets_weight(hook):
                    hook(own, ())


def _sets_weight(hook: Any) -> bool:
    return type(hook).__module__.startswith(_WEIGHT_HOOKS)


def _refuse_unexportable(name: str, own: nn.Module) -> None:
    kind = f"{type(own).__module__}.{type(own).__qualname__}"
    if isinstance(own, torch.jit.ScriptModule):
        raise _refused(name, "a scripted module", "Python code", "load its state_dict() into the Python module")
    if kind.startswith(_QUANTIZED):
        remedy = "export the float model that it was made of; rnnx writes no quantized graph"
        raise _refused(name, kind, "a float module", remedy)
    if own.training:
        raise _refused(name, "training mode", "evaluation mode, without dropout", "call model.eval() before")
    if isinstance(own, nn.modules.batchnorm._BatchNorm) and own.running_mean is None:
        remedy = "train it with track_running_stats=True, or use LayerNorm"
        raise _refused(name, f"{type(own).__name__} without running statistics", "fixed mean and variance", remedy)
    for key, value in own.named_parameters(recurse=False):
        if value.is_meta:
            raise _refused(
                f"{name}.{key}", "no values (the meta device)", "trained values", "load the state dict first"
            )


def _refused(name: str, got: str, expected: str, remedy: str) -> ExportError:
    return ExportError(f"module {name!r}", got=got, expected=expected, remedy=remedy)
