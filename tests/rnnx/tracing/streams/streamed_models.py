"""Models that look along time: each kind of operator that a stream has to carry frames for."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Convolved(nn.Module):
    """Convolutions over time around a layer: `padding` on both sides, `causal` frames in front alone."""

    def __init__(self, kernel: int = 3, padding: int = 0, causal: int = 0, stride: int = 1, value: float = 0.0) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 5, kernel, stride, padding)
        self.norm = nn.BatchNorm1d(5)
        self.layer = nn.LSTM(5, 6, batch_first=True)
        self.head = nn.Linear(6, 3)
        self.causal, self.value = causal, value

    def forward(self, x: Tensor) -> Tensor:
        frames = functional.pad(x.transpose(1, 2), (self.causal, 0), value=self.value)
        features = torch.relu(self.norm(self.conv(frames))).transpose(1, 2)
        output: Tensor = self.head(self.layer(features)[0])
        return output


class Residual(nn.Module):
    """Look-aheads behind each other with frames carried past them, over time first."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(4, 4, 3, padding=1), nn.Conv1d(4, 4, 5, padding="same", dilation=2)
        self.layer = nn.GRU(4, 4, 2)
        self.last = nn.Conv1d(4, 4, 3, padding=1, groups=2)

    def forward(self, x: Tensor) -> Tensor:
        frames = x.permute(1, 2, 0)
        frames = frames + torch.tanh(self.first(frames))
        frames = frames * torch.sigmoid(self.second(frames))
        output = self.layer(frames.permute(2, 0, 1))[0]
        result: Tensor = self.last(output.permute(1, 2, 0)).permute(2, 0, 1) + output
        return result


class Chomped(nn.Module):
    """A temporal convolution network: padded on both sides, its end cut off."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(4, 4, 3, padding=2 * own, dilation=own) for own in (1, 2, 4))
        self.layer = nn.LSTM(4, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        frames = x.transpose(1, 2)
        for conv, dilation in zip(self.convs, (1, 2, 4), strict=True):
            frames = frames + torch.relu(conv(frames)[:, :, : -2 * dilation])
        output: Tensor = self.layer(frames.transpose(1, 2))[0]
        return output


class Subsampled(nn.Module):
    """The front of a speech recognizer: two strided convolutions over time and bands."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 3, 3, stride=2, padding=1)
        self.second = nn.Conv2d(3, 3, 3, stride=2, padding=1)
        self.layer = nn.GRU(3 * 2, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        frames = torch.relu(self.second(torch.relu(self.first(x.unsqueeze(1)))))
        output: Tensor = self.layer(frames.permute(0, 2, 1, 3).reshape(x.size(0), -1, 6))[0]
        return output


class Overlapping(nn.Module):
    """Frames of samples by a convolution, a mask, and samples again by overlap-add."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Conv1d(1, 6, 8, stride=4), nn.ConvTranspose1d(6, 1, 8, stride=4)
        self.layer = nn.LSTM(6, 6, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        frames = torch.relu(self.encoder(x.unsqueeze(1)))
        mask = torch.sigmoid(self.layer(frames.transpose(1, 2))[0]).transpose(1, 2)
        samples: Tensor = self.decoder(frames * mask).squeeze(1)
        return samples


class Differences(nn.Module):
    """Each frame beside its difference to the one before, cut or padded."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.layer = nn.GRU(4 if kind == "cut" else 8, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "cut":
            frames = x[:, 1:] - x[:, :-1]
        elif self.kind == "padded":
            frames = torch.cat([x, functional.pad(torch.diff(x, dim=1), (0, 0, 1, 0))], -1)
        else:
            before = torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1)
            frames = torch.cat([x, x - before], -1)
        output: Tensor = self.layer(frames)[0]
        return output


class RunningMean(nn.Module):
    """Frames less the mean of all so far."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(4, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        counts = torch.arange(1, x.size(1) + 1, device=x.device, dtype=x.dtype).view(1, -1, 1)
        output: Tensor = self.layer(x - x.cumsum(1) / counts)[0]
        return output


class Placed(nn.Module):
    """Frames with sines of their places, and with rows of a table."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 4, 3, padding=1)
        self.register_buffer("table", torch.randn(1, 500, 4))
        self.layer = nn.GRU(4, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        frames = self.conv(x.transpose(1, 2)).transpose(1, 2)
        places = torch.arange(x.size(1)).unsqueeze(-1) * 0.3
        table: Any = self.table
        output: Tensor = self.layer(frames + torch.sin(places) + table[:, : x.size(1)])[0]
        return output


class Pooled(nn.Module):
    """Frames pooled over time."""

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.pool, self.layer = pool, nn.GRU(4, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.layer(self.pool(x.transpose(1, 2)).transpose(1, 2))[0]
        return output


class Windowed(nn.Module):
    """Several frames as one: overlapping by unfold, or stacked by a reshape."""

    def __init__(self, *, stacked: bool) -> None:
        super().__init__()
        self.stacked = stacked
        self.layer = nn.GRU(8 if stacked else 20, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        batch, time, width = x.shape
        if self.stacked:
            frames = x[:, : time // 2 * 2].reshape(batch, time // 2, 2 * width)
        else:
            frames = functional.pad(x, (0, 0, 4, 0)).unfold(1, 5, 1).flatten(2)
        output: Tensor = self.layer(frames)[0]
        return output


class Edge(nn.Module):
    """The first frame repeated in front of the sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.layer = nn.Conv1d(4, 4, 3), nn.GRU(4, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        frames = self.conv(functional.pad(x.transpose(1, 2), (2, 0), mode="replicate"))
        output: Tensor = self.layer(frames.transpose(1, 2))[0]
        return output


class Flattened(nn.Module):
    """Frames of all rows as one batch between a convolution and a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear, self.norm = nn.Conv1d(4, 4, 3, padding=1), nn.Linear(4, 4), nn.BatchNorm1d(4)
        self.layer = nn.GRU(4, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        batch, time, width = x.shape
        frames = self.norm(self.linear(x.reshape(batch * time, width))).reshape(batch, time, width)
        output: Tensor = self.layer(self.conv(frames.transpose(1, 2)).transpose(1, 2))[0]
        return output


class LastState(nn.Module):
    """A class for the whole sequence of the layer's last state, behind a look-ahead."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.layer, self.head = (
            nn.Conv1d(4, 4, 3, padding=1),
            nn.GRU(4, 5, batch_first=True),
            nn.Linear(5, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.head(self.layer(self.conv(x.transpose(1, 2)).transpose(1, 2))[1][-1])
        return output


class Stepped(nn.Module):
    """A cell called on every second frame, and what is computed of its states step by step."""

    def __init__(self, cell: nn.Module, stride: int = 2) -> None:
        super().__init__()
        self.conv, self.cell, self.head = nn.Conv1d(4, 4, 4, stride=stride), cell, nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        frames = self.conv(functional.pad(x.transpose(1, 2), (2, 0)))
        hidden, found = x.new_zeros(x.size(0), 5), []
        memory = hidden
        for frame in range(frames.size(2)):
            if isinstance(self.cell, nn.LSTMCell):
                hidden, memory = self.cell(frames[:, :, frame], (hidden, memory))
            else:
                hidden = self.cell(frames[:, :, frame], hidden)
            found.append(self.head(torch.relu(hidden)))
        return torch.stack(found, 1)


class WeightNormed(nn.Module):
    """A convolution whose weights are made of a direction and a length at each call."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.utils.parametrizations.weight_norm(nn.Conv1d(4, 4, 3))
        self.layer = nn.GRU(4, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        frames = self.conv(functional.pad(x.transpose(1, 2), (2, 0)))
        output: Tensor = self.layer(frames.transpose(1, 2))[0]
        return output


class LastOfHalf(nn.Module):
    """The last state of every second frame, whose sequence may end within a step."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.layer = nn.Conv1d(4, 4, 3, stride=2, padding=1), nn.GRU(4, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        last: Tensor = self.layer(self.conv(x.transpose(1, 2)).transpose(1, 2))[1]
        return last[-1]


class Smoothed(nn.Module):
    """An exponential mean in a loop of Python, behind a look-ahead."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.layer = nn.Conv1d(4, 4, 3, padding=1), nn.GRU(4, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        frames = self.conv(x.transpose(1, 2)).transpose(1, 2)
        mean, means = x.new_zeros(x.size(0), 4), []
        for t in range(frames.size(1)):
            mean = 0.9 * mean + 0.1 * torch.abs(frames[:, t])
            means.append(mean)
        output: Tensor = self.layer(frames - torch.stack(means, 1))[0]
        return output


class Restored(nn.Module):
    """Half the frames and all of them again, beside what they were."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv1d(4, 4, 4, stride=2, padding=1), nn.ConvTranspose1d(4, 4, 4, stride=2, padding=1)
        self.layer = nn.GRU(4, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        frames = x.transpose(1, 2)
        half = self.down(frames)
        output: Tensor = self.up(self.layer(half.transpose(1, 2))[0].transpose(1, 2) + half) + frames
        return output


class Unstreamed(nn.Module):
    """What needs all of the sequence."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.layer = nn.GRU(4, 4, batch_first=True, bidirectional=kind == "bidirectional")
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "mean":
            x = x - x.mean(1, keepdim=True)
        elif self.kind == "softmax":
            x = x * torch.softmax(x, 1)
        elif self.kind == "flip":
            x = x.flip(1)
        output: Tensor = self.layer(x)[0]
        if self.kind == "attention":
            output = self.attention(output, output, output, need_weights=False)[0]
        return output
