"""States that an `nn.LSTM` is given beside a packed sequence: PyTorch checks no sizes of these, and reads on."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from torch import nn
from torch.nn.utils.rnn import PackedSequence

from rnnx.tracing.states.layer_states import watched_layers


def checked_packed_states(module: nn.Module) -> AbstractContextManager[None]:
    """Raise RuntimeError inside the block where a state beside a packed sequence is not of its layer's sizes."""
    return watched_layers(module, _check)


def _check(_: str, layer: nn.Module, given: Mapping[str, Any]) -> None:
    packed, state = given.get("input"), given.get("hx")
    if isinstance(layer, nn.LSTM) and isinstance(packed, PackedSequence) and state is not None:
        layer.check_forward_args(packed.data, state, packed.batch_sizes)
