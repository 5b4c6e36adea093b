"""Streaming models of features, tokens and observations as people train them; `stream_shapes` gives them inputs.

None of them keeps anything from chunk to chunk: each is a module of the whole sequence, as in training.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

BANDS, KEYWORDS, EVENTS, LETTERS, PIECES = 40, 12, 10, 29, 64
"""Bands of a spectrum, and sizes of what the models tell apart."""


class GruSpotter(nn.Module):
    """Keywords in log-mel frames: causal convolutions with batch norm, a GRU, a head for each frame."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv1d(BANDS, width, 5), nn.BatchNorm1d(width), nn.ReLU())
        self.second = nn.Sequential(nn.Conv1d(width, width, 3, dilation=2), nn.BatchNorm1d(width), nn.ReLU())
        self.gru = nn.GRU(width, width, num_layers=2, dropout=0.1, batch_first=True)
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(width, KEYWORDS))

    def forward(self, spectrum: Tensor) -> Tensor:
        """Logits `(B, T, KEYWORDS)` of a spectrum `(B, T, BANDS)`."""
        frames = self.first(functional.pad(spectrum.transpose(1, 2), (4, 0)))
        frames = self.second(functional.pad(frames, (4, 0)))
        logits: Tensor = self.head(self.gru(frames.transpose(1, 2))[0])
        return logits


class SeparableBlock(nn.Module):
    """Depthwise and pointwise convolutions, twice, with the input beside them (MatchboxNet's block)."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.depthwise = nn.ModuleList(nn.Conv1d(width, width, kernel, groups=width, bias=False) for _ in range(2))
        self.pointwise = nn.ModuleList(nn.Conv1d(width, width, 1, bias=False) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(2))
        self.shortcut = nn.Sequential(nn.Conv1d(width, width, 1, bias=False), nn.BatchNorm1d(width))

    def forward(self, frames: Tensor) -> Tensor:
        """`(B, C, T)` of `(B, C, T)`."""
        found = frames
        for place, (depthwise, pointwise, norm) in enumerate(
            zip(self.depthwise, self.pointwise, self.norms, strict=True)
        ):
            found = norm(pointwise(depthwise(functional.pad(found, (self.kernel - 1, 0)))))
            if place == 0:
                found = torch.relu(found)
        return torch.relu(found + self.shortcut(frames))


class SeparableSpotter(nn.Module):
    """Keywords by separable convolutions that halve the time twice, with a smoothed posterior (arXiv 2004.08531)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.entry = nn.Sequential(nn.Conv1d(BANDS, width, 11, stride=2), nn.BatchNorm1d(width), nn.ReLU())
        self.early = nn.ModuleList(SeparableBlock(width, kernel) for kernel in (13, 15))
        self.down = nn.Conv1d(width, width, 3, stride=2, groups=width)
        self.late = SeparableBlock(width, 17)
        self.wide = nn.Sequential(nn.Conv1d(width, width, 29, dilation=2, groups=width), nn.Conv1d(width, width, 1))
        self.head = nn.Conv1d(width, KEYWORDS, 1)

    def forward(self, spectrum: Tensor) -> Tensor:
        """Posteriors `(B, T/4, KEYWORDS)` of a spectrum `(B, T, BANDS)`, each a mean of the last ten."""
        frames = self.entry(functional.pad(spectrum.transpose(1, 2), (9, 0)))
        for block in self.early:
            frames = block(frames)
        frames = self.late(torch.relu(self.down(functional.pad(frames, (1, 0)))))
        frames = torch.relu(self.wide(functional.pad(frames, (56, 0))))
        posteriors = torch.softmax(self.head(frames), 1)
        return functional.avg_pool1d(functional.pad(posteriors, (9, 0)), 10, stride=1).transpose(1, 2)


class EventDetector(nn.Module):
    """Sound events in log-mel frames: convolutions over time and bands, pooling over both, a GRU (DCASE's CRNN)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = (1, width // 2, width, width)
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(sizes))
        self.norms = nn.ModuleList(nn.BatchNorm2d(size) for size in sizes[1:])
        self.pools = nn.ModuleList([nn.MaxPool2d((2, 2)), nn.AvgPool2d((2, 2)), nn.AvgPool2d((1, 5))])
        self.gru = nn.GRU(2 * width, width, num_layers=2, batch_first=True)
        self.head = nn.Linear(width, EVENTS)

    def forward(self, spectrum: Tensor) -> Tensor:
        """Probabilities `(B, T/4, EVENTS)` of a spectrum `(B, T, BANDS)`."""
        image = spectrum.unsqueeze(1)
        for conv, norm, pool in zip(self.convs, self.norms, self.pools, strict=True):
            image = pool(torch.relu(norm(conv(image))))
        frames = image.permute(0, 2, 1, 3).flatten(2)
        return torch.sigmoid(self.head(self.gru(frames)[0]))


class SpeechEncoder(nn.Module):
    """Letters of speech: two strided convolutions, projected LSTMs, a row convolution (arXiv 1512.02595, 3.7)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 8, 3, stride=2), nn.Conv2d(8, 8, 3, stride=2)
        self.entry = nn.Linear(8 * 9, width)
        self.lstms = nn.ModuleList(nn.LSTM(width, 2 * width, proj_size=width, batch_first=True) for _ in range(3))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.lookahead = nn.Conv1d(width, width, 3, groups=width, bias=False)
        self.head = nn.Linear(width, LETTERS)

    def forward(self, spectrum: Tensor) -> Tensor:
        """Log probabilities `(B, T/4, LETTERS)` of a spectrum `(B, T, BANDS)`, two frames of them late."""
        image = torch.relu(self.first(functional.pad(spectrum.unsqueeze(1), (0, 0, 1, 0))))
        image = torch.relu(self.second(functional.pad(image, (0, 0, 1, 0))))
        frames = self.entry(image.transpose(1, 2).flatten(2))
        for lstm, norm in zip(self.lstms, self.norms, strict=True):
            frames = norm(lstm(frames)[0] + frames)
        context = self.lookahead(functional.pad(frames.transpose(1, 2), (0, 2))).transpose(1, 2)
        return torch.log_softmax(self.head(functional.hardtanh(context, 0.0, 20.0)), -1)


class TokenPredictor(nn.Module):
    """The prediction network of an RNN transducer: what was written so far, for the joint network (arXiv 1211.3711)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(PIECES + 1, width, padding_idx=PIECES)
        self.norm = nn.LayerNorm(width)
        self.lstm = nn.LSTM(width, width, num_layers=2, batch_first=True)
        self.joint = nn.Linear(width, 2 * width)

    def forward(self, tokens: Tensor) -> Tensor:
        """`(B, U, 2·width)` of int64 tokens `(B, U)`, the blank at the start."""
        found: Tensor = self.joint(self.lstm(self.norm(self.embedding(tokens)))[0])
        return found


class HistoryPolicy(nn.Module):
    """A policy that sees the last observations and the last action: stacked frames, a GRU, an actor and a critic."""

    def __init__(self, width: int, history: int = 4) -> None:
        super().__init__()
        self.history = history
        self.body = nn.Sequential(
            nn.Linear(12 * history + 3, width), nn.LayerNorm(width), nn.ELU(), nn.Linear(width, width)
        )
        self.gru = nn.GRU(width, width, batch_first=True)
        self.actor, self.critic = nn.Linear(width, 3), nn.Linear(width, 1)

    def forward(self, observation: Tensor, action: Tensor) -> dict[str, Tensor]:
        """Actions `(B, T, 3)` and values `(B, T)` of observations `(B, T, 12)` and the actions `(B, T, 3)` before."""
        shifted = [functional.pad(observation, (0, 0, by, 0))[:, : observation.size(1)] for by in range(self.history)]
        output, _ = self.gru(torch.relu(self.body(torch.cat([*shifted, action], -1))))
        return {"actions": torch.tanh(self.actor(output)), "values": self.critic(output).squeeze(-1)}
