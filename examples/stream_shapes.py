"""The models of `streaming_features` and `streaming_waveforms` by name, each with inputs of any batch and time.

To export one for chunks, with all that it carries from chunk to chunk as states:

    shape = STREAMS["voice-detector"]
    rnnx.export(shape.make(), "vad.onnx", example_inputs=shape.inputs(2, 4), stateful=True)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from streaming_features import (
    BANDS,
    PIECES,
    EventDetector,
    GruSpotter,
    HistoryPolicy,
    SeparableSpotter,
    SpeechEncoder,
    TokenPredictor,
)
from streaming_waveforms import CodecEncoder, MaskingDenoiser, SourceSeparator, VoiceDetector


@dataclass(frozen=True, kw_only=True)
class StreamShape:
    """A streaming model, its usual width, and its inputs `(batch, frames)` at any batch and time.

    `multiple` is the number of frames of which a chunk has a multiple, and `delay` by how many frames each output is
    late; `axis` is the inputs' axis of time.
    """

    module: Callable[[int], nn.Module]
    width: int
    sized_inputs: Callable[[int, int], dict[str, Tensor]]
    multiple: int = 1
    delay: int = 0
    axis: int = 1

    def make(self, width: int | None = None) -> nn.Module:
        """The module in evaluation mode, with seeded weights and the running statistics of seeded batches."""
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(0)
            module = self.module(width or self.width)
            if any(isinstance(own, nn.BatchNorm1d | nn.BatchNorm2d) for own in module.modules()):
                with torch.no_grad():
                    for seed in range(20):
                        module(**self.inputs(4, 32, seed))
            return module.eval()

    def inputs(self, batch: int, steps: int, seed: int = 0) -> dict[str, Tensor]:
        """Seeded inputs of so many times the least chunk."""
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(1000 * steps + seed)
            return self.sized_inputs(batch, steps * self.multiple)


def _spectrum(batch: int, time: int) -> dict[str, Tensor]:
    return {"spectrum": torch.randn(batch, time, BANDS)}


def _samples(name: str) -> Callable[[int, int], dict[str, Tensor]]:
    return lambda batch, time: {name: 0.1 * torch.randn(batch, time)}


STREAMS: Mapping[str, StreamShape] = {
    "gru-spotter": StreamShape(module=GruSpotter, width=64, sized_inputs=_spectrum),
    "separable-spotter": StreamShape(module=SeparableSpotter, width=64, sized_inputs=_spectrum, multiple=4),
    "voice-detector": StreamShape(module=VoiceDetector, width=128, sized_inputs=_samples("samples"), multiple=512),
    "denoiser": StreamShape(module=MaskingDenoiser, width=64, sized_inputs=_samples("noisy"), multiple=32, delay=96),
    "separator": StreamShape(module=SourceSeparator, width=32, sized_inputs=_samples("mixture"), multiple=8, delay=8),
    "event-detector": StreamShape(module=EventDetector, width=32, sized_inputs=_spectrum, multiple=4, delay=2),
    "speech-encoder": StreamShape(module=SpeechEncoder, width=64, sized_inputs=_spectrum, multiple=4, delay=2),
    "token-predictor": StreamShape(
        module=TokenPredictor,
        width=64,
        sized_inputs=lambda batch, time: {"tokens": torch.randint(0, PIECES + 1, (batch, time))},
    ),
    "codec-encoder": StreamShape(
        module=CodecEncoder,
        width=8,
        sized_inputs=lambda batch, time: {"samples": 0.1 * torch.randn(batch, 1, time)},
        multiple=40,
        axis=2,
    ),
    "history-policy": StreamShape(
        module=HistoryPolicy,
        width=64,
        sized_inputs=lambda batch, time: {
            "observation": torch.randn(batch, time, 12),
            "action": torch.tanh(torch.randn(batch, time, 3)),
        },
    ),
}
