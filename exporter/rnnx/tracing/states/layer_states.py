"""Recurrent layers inside a model, each of their calls, and what the initial state of a call was computed from."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from rnnx.tracing.states.value_origins import ValueOrigins, tensors_in


@dataclass(frozen=True, kw_only=True)
class LayerCall:
    """One call of a recurrent layer in a run: its number among the layer's calls, and how its state starts.

    `batch` is the batch it ran on, None for unbatched. `origins` are the labels of the values that the initial state
    comes from: none where the model makes it. `starts_at_zero` says that it is zeros, or left out.
    """

    layer: str
    index: int
    batch: int | None
    origins: frozenset[str]
    starts_at_zero: bool

    @property
    def label(self) -> str:
        """What the values have among their origins that come from this call."""
        return call_label(self.layer, self.index)


def call_label(layer: str, index: int) -> str:
    """The label of what a layer's call gives."""
    return f"call {index} of {layer}"


def recurrent_layers(module: nn.Module) -> dict[str, nn.Module]:
    """Every recurrent layer and cell by its name in the module; a layer under several names has its first."""
    return {name: own for name, own in module.named_modules() if isinstance(own, nn.RNNBase | nn.RNNCellBase)}


@contextmanager
def recorded_calls(module: nn.Module, origins: ValueOrigins) -> Iterator[list[LayerCall]]:
    """The calls of the recurrent layers inside the block, in order; what they give has their label."""
    calls: list[LayerCall] = []
    counts: Counter[str] = Counter()

    def record(name: str, layer: nn.Module, given: Mapping[str, Any]) -> None:
        state = list(tensors_in(given.get("hx")))
        calls.append(
            LayerCall(
                layer=name,
                index=counts[name],
                batch=_batch(layer, given["input"]),
                origins=origins.of(state),
                starts_at_zero=not any(bool(own.count_nonzero()) for own in state),
            )
        )
        counts[name] += 1

    def labeller(name: str) -> Any:
        return lambda _, __, result: origins.label(tensors_in(result), call_label(name, counts[name] - 1))

    with watched_layers(module, record), ExitStack() as hooks:
        for name, layer in recurrent_layers(module).items():
            hooks.enter_context(layer.register_forward_hook(labeller(name)))
        yield calls


@contextmanager
def watched_layers(module: nn.Module, watch: Callable[[str, nn.Module, Mapping[str, Any]], None]) -> Iterator[None]:
    """Calls `watch` with the name, the layer and its arguments by name before each call of a recurrent layer inside."""

    def watcher(name: str) -> Any:
        return lambda layer, args, given: watch(name, layer, dict(zip(("input", "hx"), args, strict=False)) | given)

    with ExitStack() as hooks:
        for name, layer in recurrent_layers(module).items():
            hooks.enter_context(layer.register_forward_pre_hook(watcher(name), with_kwargs=True))
        yield


def as_states(hidden: Any) -> tuple[Tensor, ...] | None:
    """`h`, or `h` and `c`, as a layer takes and gives them, as a tuple."""
    if isinstance(hidden, list):
        return tuple(hidden)
    return hidden if hidden is None or isinstance(hidden, tuple) else (hidden,)


def state_shapes(layer: Any, batch: int | None) -> tuple[tuple[int, ...], ...]:
    """The shapes of `h`, and `c` for LSTM: `(L·D, B, P)` and `(L·D, B, H)` of a layer, `(B, H)` of a cell."""
    lead: tuple[int, ...] = () if batch is None else (batch,)
    widths = [getattr(layer, "proj_size", 0) or layer.hidden_size, layer.hidden_size]
    if isinstance(layer, nn.RNNBase):
        lead = (layer.num_layers * (2 if layer.bidirectional else 1), *lead)
    return tuple((*lead, width) for width in widths[: 2 if isinstance(layer, nn.LSTM | nn.LSTMCell) else 1])


def following_calls(calls: Sequence[LayerCall]) -> Mapping[LayerCall, LayerCall]:
    """For each call that begins a state, the last call of the layer that hands it on."""
    chains: dict[str, LayerCall] = {}
    last: dict[LayerCall, LayerCall] = {}
    for call in calls:
        before = [own for label, own in chains.items() if label in call.origins and own.layer == call.layer]
        first = before[-1] if before else call
        chains[call.label] = first
        last[first] = call
    return last


def _batch(layer: nn.Module, x: Tensor | PackedSequence) -> int | None:
    if isinstance(x, PackedSequence):
        return int(x.batch_sizes[0])
    if isinstance(layer, nn.RNNCellBase):
        return x.shape[0] if x.dim() == 2 else None
    return x.shape[0 if getattr(layer, "batch_first", False) else 1] if x.dim() == 3 else None
