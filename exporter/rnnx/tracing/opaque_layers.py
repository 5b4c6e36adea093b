"""Recurrent layers during a trace: each call is one node of the graph, with the layer's name instead of its weights."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.onnx.ops
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from rnnx.errors import ExportError
from rnnx.tracing.packing import PackedRows, check_equal, rows_of
from rnnx.tracing.states.layer_states import as_states, recurrent_layers
from rnnx.tracing.states.lifted_states import StateHandover

DOMAIN, OPERATOR = "rnnx", "Recurrence"

MOST_CELL_CALLS = 64
"""More calls of one cell are a loop over time, which belongs into the decoder's forms or into a layer."""

_CLASSES = (nn.LSTM, nn.GRU, nn.RNN, nn.LSTMCell, nn.GRUCell, nn.RNNCell)


class OpaqueLayers:
    """The calls of a module's layers in a trace. `states` gives and takes those that are lifted, in a run of it."""

    def __init__(self, module: nn.Module) -> None:
        # torch.export hands out proxies of a module that is in several places, which share its attributes.
        self._names = {id(vars(layer)): name for name, layer in recurrent_layers(module).items()}
        self.calls: Counter[str] = Counter()
        self.states: StateHandover | None = None

    def call(self, layer: Any, x: Any, hx: Any) -> Any:
        """What `layer(x, hx)` gives, as one node."""
        name = self._counted(layer)
        state = as_states(hx)
        if self.states is not None:
            state = self.states.start(name, state)
        results = _cell_results if isinstance(layer, nn.RNNCellBase) else _layer_results
        sequence, state = results(name, layer, x, state)
        if self.states is not None:
            self.states.end(name, state)
        hidden = state if len(state) == 2 else state[0]
        return hidden if sequence is None else (sequence, hidden)

    def _counted(self, layer: nn.Module) -> str:
        name = self._names.get(id(vars(layer)))
        if name is None:
            raise ExportError(
                f"a {type(layer).__name__}",
                got="a layer that is no submodule of the model",
                expected="every recurrent layer registered in the model",
                remedy="assign it to an attribute of a module, or put a list of them into nn.ModuleList",
            )
        self.calls[name] += 1
        if isinstance(layer, nn.RNNCellBase) and self.calls[name] > MOST_CELL_CALLS:
            raise looped_cell(name, type(layer).__name__, f"more than {MOST_CELL_CALLS} calls of it in one forward")
        return name


@contextmanager
def opaque(layers: OpaqueLayers) -> Iterator[None]:
    """Let every recurrent layer of this thread be one node inside the block; a subclass's own `forward` still runs."""
    originals: dict[Any, Callable[..., Any]] = {kind: kind.forward for kind in _CLASSES}
    owner = threading.get_ident()

    def replacement(original: Callable[..., Any]) -> Callable[..., Any]:
        def forward(self: nn.Module, input: Any, hx: Any = None) -> Any:  # noqa: A002 - PyTorch's name
            return layers.call(self, input, hx) if threading.get_ident() == owner else original(self, input, hx)

        return forward

    for kind, original in originals.items():
        kind.forward = replacement(original)
    try:
        yield
    finally:
        for kind, original in originals.items():
            kind.forward = original


def looped_cell(name: str, kind: str, got: str) -> ExportError:
    """The refusal of a Python loop over time around a cell."""
    layer = f"nn.{kind.removesuffix('Cell')}"
    return ExportError(
        f"cell {name!r}",
        got=got,
        expected="no Python loop over time, which becomes a copy of the step for each time of the example",
        remedy=f"call {layer} on the whole sequence (its weights are the cell's, named weight_ih_l0 and so on), "
        "or export one step and let the caller loop",
    )


def _layer_results(name: str, layer: Any, x: Any, state: tuple[Tensor, ...] | None) -> tuple[Any, tuple[Tensor, ...]]:
    if isinstance(x, PackedSequence):
        rows = rows_of(x)
        output, *last = _node(name, layer, rows.padded, state, rows.lengths, batch_first=rows.batch_first)
        result = PackedRows(output, rows.lengths, batch_first=rows.batch_first, zero_past_end=True)
        return result.packed(like=x), tuple(last)
    if x.dim() == 3:
        output, *last = _node(name, layer, x, state, None, batch_first=layer.batch_first)
        return output, tuple(last)
    axis = 0 if layer.batch_first else 1
    state = None if state is None else tuple(value.unsqueeze(1) for value in state)
    output, *last = _node(name, layer, x.unsqueeze(axis), state, None, batch_first=layer.batch_first, batched=False)
    return output.squeeze(axis), tuple(value.squeeze(1) for value in last)


def _cell_results(
    name: str, layer: Any, x: Tensor, state: tuple[Tensor, ...] | None
) -> tuple[None, tuple[Tensor, ...]]:
    if x.dim() == 1:
        state = None if state is None else tuple(value.unsqueeze(0) for value in state)
        last = _cell_results(name, layer, x.unsqueeze(0), state)[1]
        return None, tuple(value.squeeze(0) for value in last)
    if state is None:
        count = 2 if isinstance(layer, nn.LSTMCell) else 1
        state = (x.new_zeros(x.shape[0], layer.hidden_size),) * count
    return None, tuple(_node(name, layer, x, state, None, batch_first=True))


def _node(
    name: str,
    layer: Any,
    x: Tensor,
    state: tuple[Tensor, ...] | None,
    lengths: Tensor | None,
    *,
    batch_first: bool,
    batched: bool = True,
) -> list[Tensor]:
    """One node: `output` for a layer, `hn`, and `cn` for LSTM, from x, h0, c0 and lengths."""
    batch = x.shape[0 if batch_first else 1]
    check_sizes(x, [*x.shape[:-1], layer.input_size])
    shapes = _shapes(layer, x, batch)
    if state is not None:
        for value, shape in zip(state, shapes[-len(state) :], strict=True):
            check_sizes(value, shape)
    if lengths is not None:
        check_equal(lengths.shape[0], batch)
    padding = [None] * (2 - len(state or ()))
    attributes: dict[str, Any] = {"layer": name, "batch_first": int(batch_first), "batched": int(batched)}
    return list(
        torch.onnx.ops.symbolic_multi_out(
            f"{DOMAIN}::{OPERATOR}",
            [x, *(state or ()), *padding, lengths],
            attributes,
            dtypes=[torch.float32] * len(shapes),
            shapes=shapes,
            version=1,
        )
    )


def node_over_time(
    name: str,
    x: Tensor,
    states: Sequence[Tensor],
    *,
    batched: bool,
    loop: int,
    reverse: bool,
    names: Sequence[str] = (),
) -> list[Tensor]:
    """One node for what a loop gives a layer or cell step by step: `output`, `hn`, and `cn` for LSTM.

    x is `(T, B, I)`, the states are as the layer has them: a cell's have no axis of layers. `loop` is the number of the
    loop, and `reverse` says that it goes backwards. `names` are those of the states of a cell that is written by hand.
    """
    batch, width = x.shape[1], states[0].shape[-1]
    for own in states:
        check_equal(own.shape[-2], batch)
    padding = [None] * (2 - len(states))
    attributes: dict[str, Any] = {"layer": name, "batch_first": 0, "batched": int(batched), "loop": loop}
    attributes["reverse"] = int(reverse)
    if names:
        attributes["names"] = list(names)
    return list(
        torch.onnx.ops.symbolic_multi_out(
            f"{DOMAIN}::{OPERATOR}",
            [x, *states, *padding, None],
            attributes,
            dtypes=[torch.float32] * (1 + len(states)),
            shapes=[[x.shape[0], batch, width], *(list(own.shape) for own in states)],
            version=1,
        )
    )


def check_sizes(value: Tensor, shape: Sequence[Any]) -> None:
    """Tell the trace that a tensor has a layer's sizes: numbers fix an axis, other axes are equal to one another."""
    for size, own in zip(value.shape, shape, strict=True):
        if not isinstance(own, torch.SymInt):
            fix_size(size)
        check_equal(size, own)


def fix_size(size: Any) -> None:
    """Fix an axis at the example's size, which a layer's weights want; a check would leave one of size 1 a range."""
    if isinstance(size, torch.SymInt):
        int(size)


def _shapes(layer: Any, x: Tensor, batch: int) -> list[list[int]]:
    widths = [getattr(layer, "proj_size", 0) or layer.hidden_size, layer.hidden_size]
    widths = widths[: 2 if isinstance(layer, nn.LSTM | nn.LSTMCell) else 1]
    if isinstance(layer, nn.RNNCellBase):
        return [[batch, width] for width in widths]
    directions = 2 if layer.bidirectional else 1
    states = [[layer.num_layers * directions, batch, width] for width in widths]
    return [[*x.shape[:2], directions * widths[0]], *states]
