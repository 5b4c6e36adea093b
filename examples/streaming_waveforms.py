"""Streaming models of samples as people train them; `stream_shapes` gives them inputs.

None of them keeps anything from chunk to chunk: each is a module of the whole waveform, as in training.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


def fourier_basis(size: int) -> Tensor:
    """Windowed cosines and sines `(2·(size/2 + 1), 1, size)`, which make a convolution the Fourier transform."""
    transform = torch.fft.rfft(torch.eye(size)).T * torch.hann_window(size)
    return torch.cat([transform.real, transform.imag]).unsqueeze(1)


class VoiceDetector(nn.Module):
    """Speech in a waveform, for every 512 samples at 16 kHz: a Fourier transform, convolutions, an LSTM cell.

    The layout is that of silero-vad, whose first stage is a spectrum and whose second decides.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("basis", fourier_basis(256))
        sizes, self.strides = (129, width, width // 2, width // 2, width), (1, 2, 2, 1)
        self.convs = nn.ModuleList(
            nn.Conv1d(a, b, 3, stride) for a, b, stride in zip(sizes, sizes[1:], self.strides, strict=False)
        )
        self.cell = nn.LSTMCell(width, width)
        self.head = nn.Linear(width, 1)

    def forward(self, samples: Tensor) -> Tensor:
        """Probabilities `(B, T/512)` of samples `(B, T)`."""
        basis: Tensor = self.get_buffer("basis")
        real, imaginary = functional.conv1d(functional.pad(samples, (128, 0)).unsqueeze(1), basis, stride=128).chunk(
            2, 1
        )
        frames = torch.sqrt(real**2 + imaginary**2 + 1e-12)
        for conv, stride in zip(self.convs, self.strides, strict=True):
            frames = torch.relu(conv(functional.pad(frames, (3 - stride, 0))))
        hidden = frames.new_zeros(frames.size(0), self.cell.hidden_size)
        memory, found = torch.zeros_like(hidden), []
        for frame in range(frames.size(2)):
            hidden, memory = self.cell(frames[:, :, frame], (hidden, memory))
            found.append(torch.sigmoid(self.head(torch.relu(hidden))).squeeze(-1))
        return torch.stack(found, 1)


class MaskedFrames(nn.Module):
    """A mask for each frame by two LSTMs (the core of DTLN, arXiv 2005.07551)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(channels, width, num_layers=2, dropout=0.25, batch_first=True)
        self.mask = nn.Linear(width, channels)

    def forward(self, frames: Tensor) -> Tensor:
        """Masks `(B, C, T)` of frames `(B, C, T)`."""
        return torch.sigmoid(self.mask(self.lstm(frames.transpose(1, 2))[0])).transpose(1, 2)


class MaskingDenoiser(nn.Module):
    """Speech without noise: a mask over the spectrum, another over learned features, overlap-add (arXiv 2005.07551)."""

    def __init__(self, width: int, size: int = 128, hop: int = 32) -> None:
        super().__init__()
        basis = fourier_basis(size)
        self.hop = hop
        self.register_buffer("basis", basis)
        self.register_buffer("inverse", torch.linalg.pinv(basis.squeeze(1)).unsqueeze(-1))
        self.register_buffer("overlap", torch.eye(size).unsqueeze(1))
        self.spectral = MaskedFrames(size // 2 + 1, width)
        self.encoder = nn.Conv1d(size, 2 * width, 1, bias=False)
        self.norm = nn.LayerNorm(2 * width)
        self.learned = MaskedFrames(2 * width, width)
        self.decoder = nn.Conv1d(2 * width, size, 1, bias=False)

    def forward(self, noisy: Tensor) -> Tensor:
        """Samples `(B, T)` of samples `(B, T)`, a window less one hop late."""
        real, imaginary = functional.conv1d(noisy.unsqueeze(1), self.get_buffer("basis"), stride=self.hop).chunk(2, 1)
        magnitude = torch.sqrt(real**2 + imaginary**2 + 1e-12)
        mask = self.spectral(torch.log(magnitude + 1e-6))
        frames = functional.conv1d(torch.cat([mask * real, mask * imaginary], 1), self.get_buffer("inverse"))
        features = self.encoder(frames)
        mask = self.learned(self.norm(features.transpose(1, 2)).transpose(1, 2))
        clean = self.decoder(features * mask)
        return functional.conv_transpose1d(clean, self.get_buffer("overlap"), stride=self.hop).squeeze(1)


class CumulativeNorm(nn.Module):
    """The norm of each frame by mean and variance of all frames so far (arXiv 1809.07454, equations 8 to 10)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain, self.bias = nn.Parameter(torch.ones(1, channels, 1)), nn.Parameter(torch.zeros(1, channels, 1))

    def forward(self, frames: Tensor) -> Tensor:
        """`(B, C, T)` of `(B, C, T)`."""
        counts = torch.arange(1, frames.size(2) + 1, dtype=frames.dtype, device=frames.device) * frames.size(1)
        mean = frames.sum(1).cumsum(1) / counts
        variance = frames.pow(2).sum(1).cumsum(1) / counts - mean.pow(2)
        return (frames - mean.unsqueeze(1)) / torch.sqrt(variance.unsqueeze(1) + 1e-5) * self.gain + self.bias


class DilatedBlock(nn.Module):
    """A separable dilated convolution, for the next block and for the sum of all (Conv-TasNet's block)."""

    def __init__(self, channels: int, hidden: int, dilation: int) -> None:
        super().__init__()
        self.entry = nn.Sequential(nn.Conv1d(channels, hidden, 1), nn.PReLU(), CumulativeNorm(hidden))
        self.padding = 2 * dilation
        self.depthwise = nn.Conv1d(hidden, hidden, 3, padding=self.padding, dilation=dilation, groups=hidden)
        self.after = nn.Sequential(nn.PReLU(), CumulativeNorm(hidden))
        self.residual, self.skip = nn.Conv1d(hidden, channels, 1), nn.Conv1d(hidden, channels, 1)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Two `(B, C, T)` of `(B, C, T)`; the end of the padding is cut off."""
        found = self.after(self.depthwise(self.entry(frames))[:, :, : -self.padding])
        return frames + self.residual(found), self.skip(found)


class SourceSeparator(nn.Module):
    """Two speakers in a waveform: a causal Conv-TasNet (arXiv 1809.07454) with an LSTM before its masks."""

    def __init__(self, width: int, size: int = 16) -> None:
        super().__init__()
        self.width = width
        self.encoder = nn.Conv1d(1, width, size, stride=size // 2, bias=False)
        self.norm, self.entry = CumulativeNorm(width), nn.Conv1d(width, width, 1)
        self.blocks = nn.ModuleList(DilatedBlock(width, 2 * width, 2**power) for power in range(5))
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.masks = nn.Conv1d(width, 2 * width, 1)
        self.decoder = nn.ConvTranspose1d(width, 1, size, stride=size // 2, bias=False)

    def forward(self, mixture: Tensor) -> tuple[Tensor, Tensor]:
        """The samples `(B, T)` of each speaker in samples `(B, T)`."""
        features = torch.relu(self.encoder(mixture.unsqueeze(1)))
        frames, total = self.entry(self.norm(features)), torch.zeros_like(features)
        for block in self.blocks:
            frames, skip = block(frames)
            total = total + skip
        context = self.lstm(total.transpose(1, 2))[0].transpose(1, 2)
        first, second = torch.sigmoid(self.masks(context)).chunk(2, 1)
        return self.decoder(features * first).squeeze(1), self.decoder(features * second).squeeze(1)


class CausalConv(nn.Module):
    """A convolution padded in front by what its kernel reaches beyond its stride (EnCodec's SConv1d, causal)."""

    def __init__(self, given: int, channels: int, kernel: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv = nn.utils.parametrizations.weight_norm(nn.Conv1d(given, channels, kernel, stride, dilation=dilation))
        self.padding = (kernel - 1) * dilation - (stride - 1)

    def forward(self, frames: Tensor) -> Tensor:
        """`(B, C, T/stride)` of `(B, C, T)`."""
        found: Tensor = self.conv(functional.pad(frames, (self.padding, 0)))
        return found


class ResidualUnit(nn.Module):
    """A dilated convolution around which the frames go by (SEANet's unit)."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.wide = CausalConv(channels, channels // 2, 3, dilation=dilation)
        self.narrow, self.shortcut = CausalConv(channels // 2, channels, 1), CausalConv(channels, channels, 1)

    def forward(self, frames: Tensor) -> Tensor:
        """`(B, C, T)` of `(B, C, T)`."""
        found = self.narrow(functional.elu(self.wide(functional.elu(frames))))
        total: Tensor = self.shortcut(frames) + found
        return total


class CodecEncoder(nn.Module):
    """Samples to latents: strided convolutions with residual units, an LSTM with a skip (arXiv 2210.13438, SEANet)."""

    def __init__(self, width: int, ratios: tuple[int, ...] = (2, 4, 5)) -> None:
        super().__init__()
        self.entry = CausalConv(1, width, 7)
        stages = []
        for stride in ratios:
            stages += [ResidualUnit(width, 1), ResidualUnit(width, 3), nn.ELU()]
            stages += [CausalConv(width, 2 * width, 2 * stride, stride)]
            width *= 2
        self.stages = nn.Sequential(*stages)
        self.lstm = nn.LSTM(width, width, num_layers=2)
        self.exit = CausalConv(width, 32, 7)

    def forward(self, samples: Tensor) -> Tensor:
        """Latents `(B, 32, T/40)` of samples `(B, 1, T)`."""
        frames = self.stages(self.entry(samples)).permute(2, 0, 1)
        frames = (self.lstm(frames)[0] + frames).permute(1, 2, 0)
        latents: Tensor = self.exit(functional.elu(frames))
        return latents
