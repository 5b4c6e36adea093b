"""The models of `recurrent_models` by name, each with inputs of any batch and time.

To export one with both free:

    shape = SHAPES["tagger"]
    rnnx.export(shape.make(64), "tagger.onnx", example_inputs=shape.inputs(2, 9))
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from recurrent_models import (
    BANDS,
    CHARACTERS,
    WORDS,
    AttentiveClassifier,
    CellStack,
    Denoiser,
    KeywordSpotter,
    LanguageModel,
    Recognizer,
    ResidualStack,
    SequenceClassifier,
    SoundEvents,
    SpellingTagger,
    Tagger,
    Translator,
    TwoStreams,
    WeightNormed,
)

Inputs = dict[str, Any]
"""Tensors by the names of `forward`'s parameters; a state is a tuple of two."""


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """A model in several widths and its inputs at any batch and time.

    `dims` are the axes that may vary of each tensor, in order; `stateful` says that it streams when exported so.
    """

    module: Callable[[int], nn.Module]
    sized_inputs: Callable[[int, int, int], Inputs]
    dims: tuple[tuple[str | None, ...], ...]
    stateful: bool = False

    def make(self, width: int = 8) -> nn.Module:
        """The module in evaluation mode, with seeded weights."""
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(0)
            return self.module(width).eval()

    def inputs(self, batch: int, time: int, width: int = 8) -> Inputs:
        """Seeded inputs; time is at least 1."""
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(1000 * batch + time)
            return self.sized_inputs(batch, time, width)


def _lengths(batch: int, time: int) -> Tensor:
    """Lengths in no order whose largest is `time`."""
    return torch.tensor([max(1, time - 2 * ((row + 1) % batch)) for row in range(batch)])


def _words(*shape: int) -> Tensor:
    return torch.randint(1, WORDS, shape)


def _sentences(batch: int, time: int, _: int) -> Inputs:
    return {"tokens": _words(batch, time), "lengths": _lengths(batch, time)}


def _signal(name: str) -> Callable[[int, int, int], Inputs]:
    return lambda batch, time, _: {name: torch.randn(batch, time, BANDS)}


def _cell_inputs(batch: int, _: int, width: int) -> Inputs:
    return {"x": torch.randn(batch, BANDS), "h": torch.randn(3, batch, width), "c": torch.randn(3, batch, width)}


def _translations(batch: int, time: int, _: int) -> Inputs:
    return {"source": _words(batch, time), "lengths": _lengths(batch, time), "target": _words(batch, time // 2 + 3)}


def _recordings(batch: int, time: int, _: int) -> Inputs:
    return {"spectrum": torch.randn(batch, time, BANDS), "lengths": _lengths(batch, time)}


def _continuation(batch: int, time: int, width: int) -> Inputs:
    return {"tokens": _words(batch, time), "state": (torch.randn(2, batch, width), torch.randn(2, batch, 2 * width))}


_SENTENCE, _SIGNAL = (("B", "T"), ("B",)), ("B", "T", None)

SHAPES: Mapping[str, ModelShape] = {
    "tagger": ModelShape(module=Tagger, sized_inputs=_sentences, dims=_SENTENCE),
    "keyword-spotter": ModelShape(module=KeywordSpotter, sized_inputs=_signal("spectrum"), dims=(_SIGNAL,)),
    "residual-stack": ModelShape(
        module=ResidualStack,
        sized_inputs=lambda batch, time, _: {"x": torch.randn(time, batch, BANDS)},
        dims=(("T", "B", None),),
    ),
    "two-streams": ModelShape(module=TwoStreams, sized_inputs=_signal("signal"), dims=(_SIGNAL,)),
    "attention": ModelShape(module=AttentiveClassifier, sized_inputs=_sentences, dims=_SENTENCE),
    "classifier": ModelShape(module=SequenceClassifier, sized_inputs=_sentences, dims=_SENTENCE),
    "sound-events": ModelShape(module=SoundEvents, sized_inputs=_signal("spectrum"), dims=(_SIGNAL,)),
    "cell-stack": ModelShape(
        module=CellStack, sized_inputs=_cell_inputs, dims=(("B", None), (None, "B", None), (None, "B", None))
    ),
    "translator": ModelShape(module=Translator, sized_inputs=_translations, dims=(*_SENTENCE, ("B", "D1"))),
    "ctc": ModelShape(module=Recognizer, sized_inputs=_recordings, dims=(_SIGNAL, ("B",))),
    "language-model": ModelShape(
        module=LanguageModel, sized_inputs=_continuation, dims=(("B", "T"), (None, "B", None), (None, "B", None))
    ),
    "denoiser": ModelShape(module=Denoiser, sized_inputs=_signal("spectrum"), dims=(_SIGNAL,), stateful=True),
    "weight-norm": ModelShape(module=WeightNormed, sized_inputs=_signal("x"), dims=(_SIGNAL,)),
    "spelling": ModelShape(
        module=SpellingTagger,
        sized_inputs=lambda batch, time, _: {"characters": torch.randint(0, CHARACTERS, (batch, time, time // 3 + 4))},
        dims=(("B", "T", "D1"),),
    ),
}
