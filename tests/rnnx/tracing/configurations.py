"""Random recurrent layers inside a small model: every constructor option, sizes, packing and states, and the proof."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from hypothesis import strategies as st
from tests.rnnx.tracing.eager_truth import assert_as_close, onnx_outputs, tensors_of
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnnx.graphs.export_report import ExportReport
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.exporting import export_model

Kind = Literal["LSTM", "GRU", "RNN"]
StateUse = Literal["absent", "given", "stateful"]
"""No state at all; one that `forward` takes; one that the exporter lifts."""

KINDS: tuple[Kind, ...] = ("LSTM", "GRU", "RNN")
STATE_USES: tuple[StateUse, ...] = ("absent", "given", "stateful")

MOST_TIME = 6
TOTAL_LENGTH = 8
"""A `total_length` that is a number and no size of an input."""


@dataclass(frozen=True, kw_only=True)
class PackingUse:
    """How a model packs and pads; `total_length` is left out, the time of its input, or `TOTAL_LENGTH`."""

    batch_first: bool
    padded_batch_first: bool
    enforce_sorted: bool
    total_length: Literal["none", "time", "number"]
    padding_value: float


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """One call: a batch, a time, and, where the model packs, a length for each row with `time` among them."""

    batch: int
    time: int
    lengths: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """A layer's constructor options, what is around it, the example's sizes and those to compare at."""

    kind: Kind
    input_size: int
    hidden_size: int
    layers: int
    bias: bool
    batch_first: bool
    bidirectional: bool
    projection: int
    nonlinearity: str
    batched: bool
    packing: PackingUse | None
    state: StateUse
    example: Sizes
    others: tuple[Sizes, ...]

    @property
    def options(self) -> dict[str, Any]:
        """The constructor's arguments."""
        options: dict[str, Any] = {
            "num_layers": self.layers,
            "bias": self.bias,
            "batch_first": self.batch_first,
            "bidirectional": self.bidirectional,
            "dropout": 0.4 if self.layers > 1 else 0.0,
        }
        if self.kind == "RNN":
            options["nonlinearity"] = self.nonlinearity
        return options | ({"proj_size": self.projection} if self.projection else {})


class AroundLayer(nn.Module):
    """Linear, the layer, linear; gives the sequence and every last state."""

    def __init__(self, own: Configuration) -> None:
        super().__init__()
        self.own = own
        self.entry = nn.Linear(own.input_size, own.input_size)
        self.layer = getattr(nn, own.kind)(own.input_size, own.hidden_size, **own.options)
        self.head = nn.Linear((own.projection or own.hidden_size) * (2 if own.bidirectional else 1), 3)

    def forward(self, x: Tensor, lengths: Tensor | None = None, state: Any = None) -> tuple[Tensor, ...]:
        """The head's values, `hn`, and `cn` for LSTM."""
        packing, values = self.own.packing, torch.tanh(self.entry(x))
        if packing is None or lengths is None:
            output, last = self.layer(values, state)
        else:
            first, ordered = packing.batch_first, packing.enforce_sorted
            packed, last = self.layer(pack_padded_sequence(values, lengths, first, ordered), state)
            total = {"none": None, "time": x.size(1 if first else 0), "number": TOTAL_LENGTH}[packing.total_length]
            output, _ = pad_packed_sequence(packed, packing.padded_batch_first, packing.padding_value, total)
        return self.head(output), *(last if isinstance(last, tuple) else (last,))


@st.composite
def configurations(draw: st.DrawFn, kind: Kind, state: StateUse, *, packed: bool) -> Configuration:
    """Any layer of a kind in any use of states and of packing that PyTorch itself allows."""
    hidden = draw(st.integers(1, 6))
    batched = packed or draw(st.booleans())
    packing = draw(_packings()) if packed else None
    return Configuration(
        kind=kind,
        input_size=draw(st.integers(1, 5)),
        hidden_size=hidden,
        layers=draw(st.integers(1, 3)),
        bias=draw(st.booleans()),
        batch_first=draw(st.booleans()),
        bidirectional=draw(st.booleans()),
        projection=draw(st.integers(0, hidden - 1)) if kind == "LSTM" else 0,
        nonlinearity=draw(st.sampled_from(("tanh", "relu"))) if kind == "RNN" else "tanh",
        batched=batched,
        packing=packing,
        state=state,
        example=draw(_sizes(packing, batched=batched)),
        others=tuple(draw(st.lists(_sizes(packing, batched=batched), min_size=2, max_size=3))),
    )


def check_configuration(own: Configuration, folder: Path) -> ExportReport:
    """Export, and compare with PyTorch in float64 at the sizes that are not the example's.

    Raises AssertionError where a result differs, and whatever the exporter or ONNX Runtime raises.
    """
    with torch.random.fork_rng(devices=()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what PyTorch says of projections, and of dropout in a single layer
        torch.manual_seed(0)
        module = AroundLayer(own).eval()
        example = _inputs(own, own.example)
        if own.state == "stateful":
            del example["state"]
        options = ModelOptions(stateful="recurrent" if own.state == "stateful" else False)
        report = export_model(module, example, folder / "model.onnx", options)
        for sizes in own.others:
            inputs = _inputs(own, sizes)
            found = onnx_outputs(report.path, _feeds(report, inputs))
            results = list(found.values())[: 3 if own.kind == "LSTM" else 2]
            assert_as_close(results, module, inputs, f"B={sizes.batch}, T={sizes.time}, lengths={sizes.lengths}")
            lifted = list(found.values())[len(results) :]
            assert all(np.array_equal(one, two) for one, two in zip(lifted, results[1:], strict=False))
            assert len(lifted) == (len(results) - 1 if own.state == "stateful" else 0)
    return report


def _packings() -> st.SearchStrategy[PackingUse]:
    return st.builds(
        PackingUse,
        batch_first=st.booleans(),
        padded_batch_first=st.booleans(),
        enforce_sorted=st.booleans(),
        total_length=st.sampled_from(("none", "time", "number")),
        padding_value=st.sampled_from((0.0, -1.5)),
    )


@st.composite
def _sizes(draw: st.DrawFn, packing: PackingUse | None, *, batched: bool) -> Sizes:
    batch, time = draw(st.integers(1, 4)) if batched else 1, draw(st.integers(1, MOST_TIME))
    if packing is None:
        return Sizes(batch=batch, time=time, lengths=())
    lengths = [time, *draw(st.lists(st.integers(1, time), min_size=batch - 1, max_size=batch - 1))]
    ordered = sorted(lengths, reverse=True) if packing.enforce_sorted else draw(st.permutations(lengths))
    return Sizes(batch=batch, time=time, lengths=tuple(ordered))


def _inputs(own: Configuration, sizes: Sizes) -> dict[str, Any]:
    """Seeded inputs by `forward`'s names; a state unless none is wanted, also for a stateful model."""
    batch_first = own.packing.batch_first if own.packing else own.batch_first
    lead = (sizes.batch, sizes.time) if batch_first else (sizes.time, sizes.batch)
    inputs: dict[str, Any] = {"x": torch.randn(*(lead if own.batched else (sizes.time,)), own.input_size)}
    if own.packing:
        inputs["lengths"] = torch.tensor(sizes.lengths)
    if own.state == "absent":
        return inputs
    rows = own.layers * (2 if own.bidirectional else 1)
    batch = (sizes.batch,) if own.batched else ()
    widths = (own.projection or own.hidden_size, own.hidden_size)
    state = tuple(torch.randn(rows, *batch, width) for width in widths[: 2 if own.kind == "LSTM" else 1])
    return {**inputs, "state": state if own.kind == "LSTM" else state[0]}


def _feeds(report: ExportReport, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors by the contract's names: both go in the order x, lengths, states."""
    names = [spec.name for spec in report.contract.inputs]
    return {name: tensor.numpy() for name, tensor in zip(names, tensors_of(inputs), strict=True)}
