"""A live model as the proofs call it: in float64, nothing of it patched, with what its layers give."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from rnnx.proofs.running_model import RunningModel, Watched
from rnnx.tracing.eager import EagerModel
from rnnx_runtime.array_type import Array


def running(eager: EagerModel) -> RunningModel:
    """The model in float64."""
    return RunningModel(
        run=lambda feeds: eager.outputs(feeds, torch.float64), watched=lambda: _watched(eager.module(torch.float64))
    )


@contextmanager
def _watched(module: nn.Module) -> Iterator[Watched]:
    """Records what each submodule without children gives at each of its calls, in the order of the first."""
    calls: dict[str, list[Array]] = {}
    leaves = [(name, own) for name, own in module.named_modules() if not list(own.children())]
    hooks = [own.register_forward_hook(_taker(calls, name, own)) for name, own in leaves]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def _taker(calls: dict[str, list[Array]], name: str, own: nn.Module) -> Any:
    shown = f"layer {name!r} ({type(own).__name__})" if name else type(own).__name__

    def take(_: nn.Module, __: Any, result: Any) -> None:
        first = result[0] if isinstance(result, tuple) and result else result
        if isinstance(first, Tensor):
            calls.setdefault(shown, []).append(first.detach().cpu().numpy().copy())

    return take
