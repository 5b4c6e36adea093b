"""States that an `nn.LSTM` is given beside a packed sequence: PyTorch checks no sizes of these, and reads on."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.utils.rnn import PackedSequence

from rnnx.tracing.layer_states import recurrent_layers


@contextmanager
def checked_packed_states(module: nn.Module) -> Iterator[None]:
    """Raise RuntimeError inside the block where a state beside a packed sequence is not of its layer's sizes."""
    layers = [own for own in recurrent_layers(module).values() if isinstance(own, nn.LSTM)]
    hooks = [own.register_forward_pre_hook(_check, with_kwargs=True) for own in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _check(layer: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    values = dict(zip(("input", "hx"), args, strict=False)) | kwargs
    packed, state = values.get("input"), values.get("hx")
    if isinstance(packed, PackedSequence) and state is not None:
        layer.check_forward_args(packed.data, state, packed.batch_sizes)
