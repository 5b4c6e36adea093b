"""Models with Python loops over time, as people write them: sequences are 5 wide, and states 8."""

from typing import Any

import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan
from torch._higher_order_ops.while_loop import while_loop


class LayerNormLSTM(nn.Module):
    """An LSTM cell with layer normalisation, its gates by `chunk`, over `x[:, t]`; gives its last states too."""

    def __init__(self) -> None:
        super().__init__()
        self.wx, self.wh = nn.Linear(5, 32, bias=False), nn.Linear(8, 32, bias=False)
        self.lx, self.lh, self.lc = nn.LayerNorm(32), nn.LayerNorm(32), nn.LayerNorm(8)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        outputs = []
        for t in range(x.size(1)):
            i, f, g, o = (self.lx(self.wx(x[:, t])) + self.lh(self.wh(h))).chunk(4, 1)
            c = self.lc(f.sigmoid() * c + i.sigmoid() * g.tanh())
            h = o.sigmoid() * c.tanh()
            outputs.append(h)
        return torch.stack(outputs, 1), h, c


class ConvLSTM(nn.Module):
    """Frames `(B, T, 1, 9, 9)` through a ConvLSTM; the last state alone."""

    def __init__(self) -> None:
        super().__init__()
        self.gates = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, clip: Tensor) -> Tensor:
        h = c = clip.new_zeros(clip.size(0), 2, 9, 9)
        for frame in clip.unbind(1):
            i, f, o, g = self.gates(torch.cat([frame, h], 1)).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return h


class MadeLayerNormLSTM(nn.Module):
    """The same cell from zeros that forward makes, its results alone."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = LayerNormLSTM()

    def forward(self, x: Tensor) -> Tensor:
        h = c = torch.zeros(x.size(0), 8, dtype=x.dtype)
        output: Tensor = self.inner(x, h, c)[0]
        return output


class ConvLSTMFrames(nn.Module):
    """A result for each frame `(B, T, 1, H, W)` of a ConvLSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.gates, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(2, 1, 1)

    def forward(self, clip: Tensor) -> Tensor:
        h, c = (clip.new_zeros(clip.size(0), 2, *clip.shape[3:]) for _ in range(2))
        outputs = []
        for t in range(clip.size(1)):
            i, f, o, g = self.gates(torch.cat([clip[:, t], h], 1)).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            outputs.append(self.head(h))
        return torch.stack(outputs, 1)


class IndRNN(nn.Module):
    """An independently recurrent cell that starts from a learned state."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.u, self.h0 = nn.Linear(5, 8), nn.Parameter(torch.rand(8)), nn.Parameter(torch.rand(8))

    def forward(self, x: Tensor) -> Tensor:
        hidden, outputs = self.h0.expand(x.size(0), -1), []
        for frame in self.w(x).unbind(1):
            hidden = torch.relu(frame + self.u * hidden)
            outputs.append(hidden)
        return torch.stack(outputs, 1)


class OneCell(nn.Module):
    """An `nn.LSTMCell` that is given no state at first."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.LSTMCell(5, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        state, outputs = None, []
        for t in range(x.size(1)):
            state = self.cell(x[:, t], state)
            outputs.append(self.head(state[0]))
        return torch.stack(outputs, 1)


class LSTMFrameByFrame(nn.Module):
    """An `nn.LSTM` called on one frame after another."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        state, outputs = None, []
        for frame in torch.split(x, 1, 1):
            output, state = self.lstm(frame, state)
            outputs.append(output)
        return torch.cat(outputs, 1)


class CellAfterLayer(nn.Module):
    """A cell by hand over what an `nn.LSTM` gives."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.w, self.u = nn.LSTM(5, 8, batch_first=True), nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        sequence, _ = self.lstm(x)
        h, outputs = x.new_zeros(x.size(0), 8), []
        for t in range(sequence.size(1)):
            h = torch.tanh(self.w(sequence[:, t]) + self.u(h))
            outputs.append(h)
        return torch.stack(outputs, 1)


class TwoDirections(nn.Module):
    """Two cells by hand, the second one from the end, joined step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.forwards, self.backwards = nn.LSTMCell(5, 8), nn.GRUCell(5, 8)

    def forward(self, x: Tensor) -> Tensor:
        state, h = None, x.new_zeros(x.size(0), 8)
        one, other = list[Tensor](), list[Tensor]()
        for t in range(x.size(1)):
            state = self.forwards(x[:, t], state)
            one.append(state[0])
        for t in reversed(range(x.size(1))):
            h = self.backwards(x[:, t], h)
            other.insert(0, h)
        return torch.stack([torch.cat(pair, -1) for pair in zip(one, other, strict=True)], 1)


class LayersInTime(nn.Module):
    """A stack of cells inside of the loop over time-major frames."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.ModuleList([nn.LSTMCell(5, 8), nn.LSTMCell(8, 8)])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        states: list[Any] = [None, None]
        outputs = []
        for frame in x.transpose(0, 1):
            for place, cell in enumerate(self.cells):
                states[place] = cell(frame, states[place])
                frame = states[place][0]
            outputs.append(frame)
        return torch.stack(outputs, dim=1), torch.stack([h for h, _ in states])


class LayerFrameByFrame(nn.Module):
    """An `nn.LSTM` called on one frame after another, its states reset where a mask says so."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(5, 8, 2, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor, done: Tensor) -> Tensor:
        state, outputs = (x.new_zeros(2, x.size(0), 8), x.new_zeros(2, x.size(0), 8)), []
        for frame, end in zip(torch.split(x, 1, 1), done.unbind(1), strict=True):
            kept = (end < 0).float().view(1, -1, 1)
            output, state = self.lstm(frame, (state[0] * kept, state[1] * kept))
            outputs.append(self.head(output))
        return torch.cat(outputs, 1)


class Written(nn.Module):
    """Results that are written into a tensor of zeros, and a mean that needs the step's number."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(5, 8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        batch, time, _ = x.shape
        outputs, h = x.new_zeros(batch, time, 8), x.new_zeros(batch, 8)
        mean = x.new_zeros(batch, 8)
        for t in range(time):
            h = self.cell(x[:, t], h)
            mean = mean + (h - mean) / (t + 1)
            outputs[:, t] = h
        return outputs, mean


class FirstFrame(nn.Module):
    """A first step that differs from the others."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.u = nn.Linear(5, 8), nn.Parameter(torch.rand(8))

    def forward(self, x: Tensor) -> Tensor:
        c, outputs = None, []
        for frame in self.first(x).chunk(x.size(1), 1):
            c = frame if c is None else torch.relu(frame + self.u * c)
            outputs.append(c)
        return torch.cat(outputs, dim=1)


class TeacherForced(nn.Module):
    """A decoder with attention over a memory of its own length, fed with a given sequence by a `while` loop."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.query = nn.LSTMCell(13, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        h = memory.mean(1)
        c = context = torch.zeros_like(h)
        outputs: list[Tensor] = []
        while len(outputs) < x.size(1):
            h, c = self.cell(torch.cat([x[:, len(outputs)], context], -1), (h, c))
            weights = torch.bmm(memory, self.query(h).unsqueeze(2)).softmax(1)
            context = (weights * memory).sum(1)
            outputs += [torch.cat([h, context], -1)]
        return torch.stack(outputs, 1)


class TwoLengths(nn.Module):
    """An encoder's loop over one sequence, and a decoder's over another."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.GRUCell(5, 8), nn.GRUCell(5, 8)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h, outputs = x.new_zeros(x.size(0), 8), []
        for frame in x.unbind(1):
            h = self.encoder(frame, h)
        for frame in y.unbind(1):
            h = self.decoder(frame, h)
            outputs.append(h)
        return torch.stack(outputs, 1)


class OperatorScan(nn.Module):
    """PyTorch's own `scan`, over time and over what that gave from the end on."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.u = nn.Linear(5, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        def step(h: Tensor, frame: Tensor) -> tuple[Tensor, Tensor]:
            h = torch.tanh(self.w(frame) + self.u(h))
            return h, h.clone()

        def summed(total: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
            return total + h, total * 0.5

        last, outputs = scan(step, x.new_zeros(x.size(0), 8), x, dim=1)
        _, later = scan(summed, torch.zeros_like(last), outputs, dim=1, reverse=True)
        return later, last


class OperatorWhile(nn.Module):
    """PyTorch's own `while_loop`, until values are large."""

    def __init__(self) -> None:
        super().__init__()
        self.u = nn.Linear(5, 5)

    def forward(self, x: Tensor) -> Tensor:
        h = x[:, 0]
        loop: Any = while_loop
        return loop(lambda own: own.sum() < 50, lambda own: (own + torch.sigmoid(self.u(own)),), (h,))[0]  # type: ignore[no-any-return]


class FedByEachOther(nn.Module):
    """A loop inside of each step that is one longer each time, and whose end the next step reads."""

    def __init__(self) -> None:
        super().__init__()
        self.outer, self.inner = nn.GRUCell(5, 8), nn.GRUCell(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        h = g = x.new_zeros(x.size(0), 8)
        for t in range(x.size(1)):
            h = self.outer(x[:, t], h + g)
            for _ in range(t + 1):
                g = self.inner(h, g)
        return g


class WritesItsBuffer(nn.Module):
    """A memory that each step writes in place."""

    memory: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(5, 8)
        self.register_buffer("memory", torch.zeros(3, 8))

    def forward(self, x: Tensor) -> Tensor:
        for t in range(x.size(1)):
            self.memory.copy_(self.cell(x[:, t], self.memory))
        return self.memory + 0


class GrowingList(nn.Module):
    """Each step reads all that came before."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(5, 8)

    def forward(self, x: Tensor) -> Tensor:
        outputs = [x.new_zeros(x.size(0), 8)]
        for t in range(x.size(1)):
            outputs.append(self.cell(x[:, t], torch.stack(outputs, 1).mean(1)))
        return outputs[-1]


class GrowingState(nn.Module):
    """A state that has one more column after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(5, 8)

    def forward(self, x: Tensor) -> Tensor:
        h, seen = x.new_zeros(x.size(0), 8), x.new_zeros(x.size(0), 1)
        for t in range(x.size(1)):
            h = self.cell(x[:, t], h)
            seen = torch.cat([seen, h[:, :1]], 1)
        return seen


class UntilLarge(nn.Module):
    """A loop whose length depends on values."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(5, 8)

    def forward(self, x: Tensor) -> Tensor:
        h, t = x.new_zeros(x.size(0), 8), 0
        while t < x.size(1) and h.abs().sum() < 3:
            h, t = self.cell(x[:, t], h), t + 1
        return h
