"""Models that call recurrent layers step by step, whose layers can take the sequence at once, and some that cannot."""

from typing import Any

import torch
from torch import Tensor, nn


class TopOfEach(nn.Module):
    """Tokens one by one through an embedding and two layers of `nn.GRU`; what is read is `hn[-1]`."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.gru, self.head = nn.Embedding(11, 6), nn.GRU(6, 8, 2), nn.Linear(8, 3)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        hidden, outputs = self.head.weight.new_zeros(2, tokens.size(0), 8), []
        for t in range(tokens.size(1)):
            frame = torch.relu(self.embedding(tokens[:, t])).unsqueeze(0)
            _, hidden = self.gru(frame, hidden)
            outputs.append(self.head(hidden[-1]).log_softmax(-1))
        return torch.stack(outputs, 1), hidden


class HalvedTop(nn.Module):
    """Two layers of `nn.GRU` whose states are halved between frames; what is read is `hn[-1]` alone."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(5, 8, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden, outputs = x.new_zeros(2, x.size(0), 8), []
        for frame in x.unbind(1):
            _, hidden = self.gru(frame.unsqueeze(0), hidden * 0.5)
            outputs.append(hidden[-1])
        return torch.stack(outputs, 1)


class BackwardsProjected(nn.Module):
    """A projected `nn.LSTM` frame by frame, from the end on, with the results in the order of the frames."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 8, proj_size=4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        state, outputs = None, list[Tensor]()
        for t in reversed(range(x.size(0))):
            output, state = self.lstm(x[t].unsqueeze(0), state)
            outputs.insert(0, output)
        assert state is not None
        return torch.cat(outputs), state[1]


class GivenStates(nn.Module):
    """An `nn.LSTMCell` that starts from arguments and gives its last states, beside a cell that is fed with its `h`."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.norm, self.next = nn.LSTMCell(5, 8), nn.LayerNorm(8), nn.RNNCell(8, 4, nonlinearity="relu")

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        above, outputs = x.new_zeros(x.size(0), 4), []
        for frame in x.unbind(1):
            h, c = self.cell(frame, (h, c))
            above = self.next(self.norm(h), above)
            outputs.append(torch.cat([above, frame], -1))
        return torch.stack(outputs, 1), h, c


class WithTheLast(nn.Module):
    """What a layer gave at the step before, beside what it gives now: a state of the loop that is left."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.embedding = nn.LSTMCell(5, 8), nn.Linear(5, 5)

    def forward(self, x: Tensor) -> Tensor:
        h = c = before = x.new_zeros(x.size(0), 8)
        seen, outputs = x.new_zeros(x.size(0), 5), []
        for frame in x.unbind(1):
            new = self.embedding(frame)
            last, (h, c) = h, self.cell(new, (h, c))
            outputs.append(torch.cat([h - last, before * h, seen], -1))
            before, seen = last, new
        return torch.stack(outputs, 1)


class OneVector(nn.Module):
    """The same vector at every step, and a sum that needs the step before: a layer beside a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(5, 8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, h = x.mean(1), x.new_zeros(x.size(0), 8)
        total, filled = x.new_zeros(x.size(0), 8), x.new_zeros(x.size(0), x.size(1), 8)
        for t in range(x.size(1)):
            h = self.cell(z, h)
            total = torch.maximum(total * 0.5, h)
            filled[:, t] = total
        return filled, h


class ReadsItsMemory(nn.Module):
    """An `nn.LSTMCell` whose `c` is read at each step, which a layer does not give."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(5, 8)

    def forward(self, x: Tensor) -> Tensor:
        h = c = x.new_zeros(x.size(0), 8)
        outputs = []
        for frame in x.unbind(1):
            h, c = self.cell(frame, (h, c))
            outputs.append(c)
        return torch.stack(outputs, 1)


class TwoDirectionsPerFrame(nn.Module):
    """A bidirectional layer called on one frame: both of its directions go forwards in time."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(5, 8, bidirectional=True, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        state, outputs = None, []
        for t in range(x.size(1)):
            output, state = self.gru(x[:, t : t + 1], state)
            outputs.append(output)
        return torch.cat(outputs, 1)


class MeetsItself(nn.Module):
    """A layer whose input holds its last output, and one that is called twice a step."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.twice = nn.GRUCell(5 + 8, 8), nn.GRUCell(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        h = g = x.new_zeros(x.size(0), 8)
        outputs: list[Any] = []
        for frame in x.unbind(1):
            h = self.cell(torch.cat([frame, h], -1), h)
            g = self.twice(h, self.twice(h, g))
            outputs.append(g)
        return torch.stack(outputs, 1)
