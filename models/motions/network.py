"""The network: convolutions over neighbouring samples, a layer over all that came before, a score for each motion."""

import torch
from torch import Tensor, nn

from motions.recordings import CHANNELS, MOTIONS


class MotionSpotter(nn.Module):
    """Scores the motion at each sample, from four samples later on.

    Two convolutions look two samples ahead each, so that a stream's scores are 0.4 s late at 10 samples a second.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, filters: int = 24, width: int = 32, hidden: int = 48) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(CHANNELS))
        self.register_buffer("scale", torch.ones(CHANNELS))
        self.front = nn.Sequential(nn.Conv1d(CHANNELS, filters, 5, padding=2), nn.BatchNorm1d(filters), nn.ReLU())
        self.separable = nn.Sequential(
            nn.Conv1d(filters, filters, 5, padding=2, groups=filters),
            nn.Conv1d(filters, width, 1),
            nn.BatchNorm1d(width),
            nn.ReLU(),
        )
        self.layer = nn.GRU(width, hidden, batch_first=True)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(hidden, len(MOTIONS))

    def forward(self, samples: Tensor) -> Tensor:
        """Scores `(B, T, 4)` of samples `(B, T, 6)`: acceleration and rates of turn, in the watch's units."""
        frames = ((samples - self.mean) * self.scale).transpose(1, 2)
        frames = self.separable(self.front(frames)).transpose(1, 2)
        output, _ = self.layer(frames)
        scores: Tensor = self.head(self.dropout(output))
        return scores
