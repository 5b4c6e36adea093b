"""Recurrent layers inside a model, and the states that start from zeros and can be lifted to inputs and outputs."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from rnnx.errors import OptionError
from rnnx_runtime.contract import StatePair


@dataclass(frozen=True, kw_only=True)
class LayerCall:
    """One call of a recurrent layer: whether it was given a state, and the batch it ran on (None for unbatched)."""

    has_state: bool
    batch: int | None


@dataclass(frozen=True, kw_only=True)
class LiftedState:
    """The states of one layer as inputs and outputs of the model: `h`, and `c` for LSTM, with the layer's shapes.

    `shapes` are `(L·D, B, P)` and `(L·D, B, H)` for a layer, `(B, H)` for a cell, at the example's batch.
    """

    layer: str
    pairs: tuple[StatePair, ...]
    shapes: tuple[tuple[int, ...], ...]


def recurrent_layers(module: nn.Module) -> dict[str, nn.Module]:
    """Every recurrent layer and cell by its name in the module; a layer under several names has its first."""
    return {name: own for name, own in module.named_modules() if isinstance(own, nn.RNNBase | nn.RNNCellBase)}


@contextmanager
def recorded_calls(module: nn.Module) -> Iterator[dict[str, list[LayerCall]]]:
    """The calls of each recurrent layer inside the block."""
    calls: dict[str, list[LayerCall]] = {}

    def recorder(name: str) -> Any:
        def record(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            values = dict(zip(("input", "hx"), args, strict=False)) | kwargs
            calls.setdefault(name, []).append(
                LayerCall(has_state=values.get("hx") is not None, batch=_batch(layer, values["input"]))
            )

        return record

    hooks = [
        layer.register_forward_pre_hook(recorder(name), with_kwargs=True)
        for name, layer in recurrent_layers(module).items()
    ]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def lifted_states(module: nn.Module, calls: Mapping[str, list[LayerCall]], taken: set[str]) -> tuple[LiftedState, ...]:
    """The states to lift: of every layer that is called once and without one; names avoid those `taken`.

    Raises:
        OptionError: a layer is called several times without a state, so that one state cannot serve it, or no layer
            starts from zeros.
    """
    layers = recurrent_layers(module)
    fresh = {name: own for name, own in calls.items() if any(not call.has_state for call in own)}
    for name, own in fresh.items():
        if len(own) > 1:
            raise OptionError(
                "stateful",
                got=f"layer {name!r}, which forward calls {len(own)} times",
                expected="one call of each layer that starts from zeros",
                remedy="hand the states over in forward yourself: take them as arguments and return the new ones",
            )
    if not fresh:
        raise OptionError(
            "stateful",
            got="no layer that starts from zeros",
            expected="a layer that is called without a state",
            remedy="leave stateful out: this model takes its states as inputs already",
        )
    alone = len(fresh) == 1 and taken.isdisjoint(("h0", "c0", "hn", "cn"))
    return tuple(
        _lifted(name, layers[name], own[0].batch, "" if alone else _prefix(name)) for name, own in fresh.items()
    )


def _prefix(name: str) -> str:
    """A layer's name as the beginning of an input's: `encoder_`, and `layer_0_` for a number of nn.Sequential."""
    plain = re.sub(r"\W", "_", name)
    return f"{plain}_" if plain.isidentifier() else f"layer_{plain}_"


def _lifted(name: str, layer: Any, batch: int | None, prefix: str) -> LiftedState:
    lead: tuple[int, ...] = () if batch is None else (batch,)
    widths = [getattr(layer, "proj_size", 0) or layer.hidden_size, layer.hidden_size]
    if isinstance(layer, nn.RNNBase):
        lead = (layer.num_layers * (2 if layer.bidirectional else 1), *lead)
    kinds = "hc" if isinstance(layer, nn.LSTM | nn.LSTMCell) else "h"
    pairs = tuple(StatePair(input=f"{prefix}{kind}0", output=f"{prefix}{kind}n") for kind in kinds)
    return LiftedState(
        layer=name,
        pairs=pairs,
        shapes=tuple((*lead, width) for width in widths[: len(kinds)]),
    )


def _batch(layer: nn.Module, x: Tensor | PackedSequence) -> int | None:
    if isinstance(x, PackedSequence):
        return int(x.batch_sizes[0])
    if isinstance(layer, nn.RNNCellBase):
        return x.shape[0] if x.dim() == 2 else None
    return x.shape[0 if getattr(layer, "batch_first", False) else 1] if x.dim() == 3 else None
