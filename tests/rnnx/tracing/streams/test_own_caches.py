"""A cache that a model takes and gives back is a state, where chunks prove it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.rnnx.tracing.streams.cached_models import (
    Causal,
    Gated,
    History,
    Listed,
    OwnState,
    Stack,
    Strided,
    TimeFirst,
    WindowOfKeys,
)
from torch import nn

import rnnx
import rnnx_runtime
from rnnx.errors import OptionError
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.exporting import export_model
from rnnx.tracing.preparation import preserved
from rnnx.tracing.sizes.dims import free_axes
from rnnx.tracing.streams.streamed_trace import streamed_trace
from rnnx.tracing.subject import read_subject
from rnnx.tracing.traced_contract import traced_contract
from rnnx.tracing.turns import own_turn
from rnnx_runtime.contract import Contract
from rnnx_runtime.errors import InputError

FRAMES, CACHE = torch.randn(2, 8, 4), torch.randn(2, 4, 2)

FOUND: dict[str, tuple[nn.Module, tuple[Any, ...], dict[str, str]]] = {
    "slice": (Causal("slice"), (FRAMES, CACHE), {"cache": "output_1"}),
    "narrow": (Causal("narrow"), (FRAMES, CACHE), {"cache": "output_1"}),
    "from-the-size": (Causal("from-the-size"), (FRAMES, CACHE), {"cache": "output_1"}),
    "time-first": (TimeFirst(), (FRAMES, torch.randn(2, 2, 4)), {"cache": "output_1"}),
    "stacked": (Stack(in_place=False), (FRAMES, torch.randn(2, 2, 4, 2)), {"cache": "output_1"}),
    "in-place": (Stack(in_place=True), (FRAMES, torch.randn(2, 2, 4, 2)), {"cache": "output_1"}),
    "keys": (
        WindowOfKeys(),
        (FRAMES, torch.randn(2, 4, 4), torch.randn(2, 4, 4)),
        {"keys": "output_1", "values": "output_2"},
    ),
    "list": (
        Listed(),
        (FRAMES.transpose(1, 2), [CACHE, torch.randn(2, 4, 4)], torch.randn(1, 2, 5)),
        {"caches_0": "output_1", "caches_1": "output_2", "h": "output_3"},
    ),
    "history": (History(), (torch.randn(2, 4), torch.randn(2, 5, 4)), {"history": "output_1"}),
    "gated": (
        Gated(),
        (torch.randn(2, 4), torch.randn(2, 4, 2), torch.randn(2, 5)),
        {"cache": "output_1", "h": "output_2"},
    ),
}


def _traced(module: nn.Module, example: tuple[Any, ...], options: ModelOptions) -> tuple[Contract, tuple[str, ...]]:
    """The contract of the trace, whose caches have been proved, and its notes."""
    subject = read_subject(module.eval(), example, options)
    with own_turn(), preserved(module):
        free = free_axes(list(subject.tensors), list(subject.tensors.values()), options)
        (found, trace, recurrences), own = streamed_trace(subject, options, free)
        return traced_contract(found, trace, recurrences, own, 20)[0], trace.notes


@pytest.mark.parametrize("name", FOUND)
def test_a_cache_is_found_wherever_it_is_cut(name: str) -> None:
    module, example, states = FOUND[name]
    contract, notes = _traced(module, example, ModelOptions())
    assert {pair.input: pair.output for pair in contract.states} == states
    assert {symbol for spec in contract.inputs for symbol in spec.dims if isinstance(symbol, str)} <= {"B", "T"}
    caches = [name for name in states if name != "h"]
    assert [note.split(" (")[0] for note in notes] == [f"state: {name} → {states[name]}" for name in caches]


def test_an_input_that_is_no_cache_stays_one() -> None:
    contract, notes = _traced(Causal("first"), (FRAMES, CACHE), ModelOptions())
    assert contract.states == ()
    assert "no state: cache → output_1" in notes[0]
    assert "gives other values in chunks" in notes[0]


def test_a_cache_beside_a_layer_that_starts_from_zeros_needs_its_state() -> None:
    contract, notes = _traced(OwnState(), (FRAMES, CACHE), ModelOptions())
    assert contract.states == ()
    assert "layer 'layer' (GRU)" in notes[0]
    contract, _ = _traced(OwnState(), (FRAMES, CACHE), ModelOptions(stateful=True))
    assert [pair.input for pair in contract.states] == ["h0", "cache"]


def test_a_state_that_is_named_is_not_guessed() -> None:
    with pytest.raises(OptionError, match="one dtype and one shape"):
        _traced(Causal("slice"), (FRAMES, CACHE), ModelOptions(states={"cache": "output_0"}))
    contract, notes = _traced(Causal("slice"), (FRAMES, CACHE), ModelOptions(states={"cache": "output_1"}))
    assert contract.inputs[1].dims == ("B", 4, 2)
    assert notes == ()


@pytest.mark.parametrize("states", [{}, {"cache": "output_1"}], ids=["found", "named"])
def test_a_chunk_that_is_no_multiple_of_the_stride_is_refused(states: dict[str, str], tmp_path: Path) -> None:
    module, options = Strided().eval(), ModelOptions(states=states)
    report = export_model(module, (torch.randn(2, 7, 4), torch.zeros(2, 4, 1)), tmp_path / "m.onnx", options)
    assert report.contract.inputs[0].dims == ("B", "2*T", 4)
    frames = np.random.default_rng(0).standard_normal((16, 4), np.float32)
    with rnnx_runtime.load(report.path, "ort-cpu") as session:
        stream = session.stream()
        with pytest.raises(InputError, match=r"15 frames, expected a multiple of 2"):
            stream.push(frames[:15])
        found = np.concatenate([stream.push(frames[:6]), stream.push(frames[6:])])
        with pytest.raises(InputError):
            session.run({"x": frames[None, :15]})
    with torch.no_grad():
        whole = module(torch.from_numpy(frames)[None], torch.zeros(1, 4, 1))[0][0]
    np.testing.assert_allclose(found, whole.numpy(), atol=1e-6)


def test_a_report_lists_the_caches_and_the_contract_streams(tmp_path: Path) -> None:
    report = rnnx.export(Causal("slice").eval(), tmp_path / "m.onnx", example_inputs=(FRAMES, CACHE))
    assert report.contract.streaming.kind == "exact"
    assert any(note.startswith("state: cache → output_1 (") and "torch.cat" in note for note in report.notes)
