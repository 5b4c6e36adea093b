"""Reflected frames and copies of the last one: they come late, and end the sequence with what it had before."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.rnnx.tracing.streams.proved_streams import proved
from torch import Tensor, nn
from torch.nn import functional

import rnnx
import rnnx_runtime
from rnnx.errors import StreamingError
from rnnx.modules.model_options import ModelOptions
from rnnx_runtime import InputError, StreamPool


class Padded(nn.Module):
    """Frames of the sequence in front of it and behind it, behind a look-ahead or not."""

    def __init__(self, before: int, after: int, mode: str = "reflect", *, ahead: bool = False, stride: int = 1) -> None:
        super().__init__()
        self.sides, self.mode = (before, after), mode
        self.first: nn.Module = nn.Conv1d(4, 4, 3, padding=1) if ahead else nn.Identity()
        self.conv, self.layer = nn.Conv1d(4, 5, 3, stride), nn.GRU(5, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        frames = functional.pad(self.first(x.transpose(1, 2)), self.sides, mode=self.mode)
        output: Tensor = self.layer(self.conv(frames).transpose(1, 2))[0]
        return output


class ByModule(nn.Module):
    """`padding_mode="reflect"` over time, beside the frames."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 4, 5, padding=2, padding_mode="reflect")

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.conv(x.transpose(1, 2)).transpose(1, 2) + x
        return output


class Spectra(nn.Module):
    """`torch.stft` with centred frames, by itself or as a convolution."""

    def __init__(self, *, convolved: bool) -> None:
        super().__init__()
        self.convolved, self.layer = convolved, nn.GRU(5, 5, batch_first=True)
        self.register_buffer("window", torch.hann_window(8))
        self.register_buffer("basis", torch.randn(10, 1, 8))

    def forward(self, x: Tensor) -> Tensor:
        if self.convolved:
            parts = functional.conv1d(functional.pad(x.unsqueeze(1), (4, 4), mode="reflect"), self.basis, stride=4)  # type: ignore[arg-type]
            sizes = (parts[:, :5] ** 2 + parts[:, 5:] ** 2 + 1e-6).sqrt()
        else:
            sizes = torch.stft(x, 8, 4, window=self.window, return_complex=True).abs()  # type: ignore[arg-type]
        output: Tensor = self.layer(sizes.transpose(1, 2))[0]
        return output


MODELS: dict[str, tuple[nn.Module, tuple[int, ...], int]] = {
    "in-front": (Padded(2, 0), (2, 12, 4), 4),
    "behind": (Padded(0, 2), (2, 12, 4), 2),
    "behind-a-look-ahead": (Padded(2, 2, ahead=True), (2, 12, 4), 5),
    "strided": (Padded(1, 1, stride=2), (2, 12, 4), 1),
    "last-frame": (Padded(1, 1, "replicate"), (2, 12, 4), 2),
    "by-module": (ByModule(), (2, 12, 4), 6),
    "stft": (Spectra(convolved=False), (2, 48), 2),
    "stft-as-a-convolution": (Spectra(convolved=True), (2, 48), 2),
}


@pytest.mark.parametrize("name", MODELS)
def test_frames_at_the_edges_are_the_whole_s(name: str) -> None:
    module, shape, delay = MODELS[name]
    assert proved(module, shape).streaming.delays == {"output": delay}


def test_frames_of_the_other_end_are_refused() -> None:
    with pytest.raises(StreamingError, match=r"test_edges\.py, line .*pads time by the mode 'circular'"):
        proved(Padded(1, 1, "circular"), (2, 12, 4))


def test_a_file_ends_as_the_module_does(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, x = Padded(2, 2).eval(), torch.randn(1, 7, 4)
    rnnx.export(module, tmp_path / "m.onnx", ModelOptions(stateful=True), example_inputs=(torch.randn(2, 12, 4),))
    with rnnx_runtime.load(tmp_path / "m.onnx", "ort-cpu") as session:
        stream = session.stream()
        found = np.concatenate([*(stream.push(frame) for frame in x[0].numpy()), stream.flush()])
        with torch.no_grad():
            np.testing.assert_allclose(found, module(x)[0].numpy(), atol=1e-6)
            shortest = module(x[:, :3])[0].numpy()
        assert session.spec.streaming.shortest == 3
        _ends_no_sooner(session.stream(), x[0].numpy(), shortest)
    with StreamPool(rnnx_runtime.load(tmp_path / "m.onnx", "ort-cpu")) as pool:
        others = [pool.open() for _ in range(3)]
        waiting = [other.submit(x[0].numpy()) for other in others]
        _ends_no_sooner(pool.open(), x[0].numpy(), shortest)
        assert all(len(push.result()) for push in waiting)


def _ends_no_sooner(stream: Any, frames: Any, expected: Any) -> None:
    """Two frames are fewer than what is reflected; three are enough, and the refusal has lost nothing."""
    parts = [stream.push(frames[:2])]
    with pytest.raises(InputError, match="a sequence of 2 frames, expected at least 3"):
        stream.flush()
    found = np.concatenate([*parts, stream.push(frames[2:3]), stream.flush()])
    np.testing.assert_allclose(found, expected, atol=1e-6)
