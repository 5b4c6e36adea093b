"""Models that loop over time in Python, as people write them, for `loops.py`: each with an example of any length."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

WIDTH = 64
Tensors = tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class LoopModel:
    """A kind of loop: what makes the model, and an example of it for a batch and a time."""

    make: Callable[[], nn.Module]
    example: Callable[[int, int], Tensors]


class LayerNormLSTM(nn.Module):
    """A cell with layer normalisation of both products and of the state."""

    def __init__(self) -> None:
        super().__init__()
        self.wx, self.wh = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.nx, self.nh, self.nc = nn.LayerNorm(4 * WIDTH), nn.LayerNorm(4 * WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        h = c = x.new_zeros(x.size(0), WIDTH)
        outputs = []
        for t in range(x.size(1)):
            i, f, g, o = (self.nx(self.wx(x[:, t])) + self.nh(self.wh(h))).chunk(4, -1)
            c = self.nc(f.sigmoid() * c + i.sigmoid() * g.tanh())
            h = o.sigmoid() * c.tanh()
            outputs.append(h)
        return torch.stack(outputs, 1)


class ConvLSTM(nn.Module):
    """Frames of 16 × 16 through one convolution for all gates."""

    def __init__(self) -> None:
        super().__init__()
        self.gates, self.head = nn.Conv2d(4 + 8, 4 * 8, 3, padding=1), nn.Conv2d(8, 1, 1)

    def forward(self, clip: Tensor) -> Tensor:
        h = c = clip.new_zeros(clip.size(0), 8, 16, 16)
        outputs = []
        for frame in clip.unbind(1):
            i, f, o, g = self.gates(torch.cat([frame, h], 1)).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            outputs.append(self.head(h))
        return torch.stack(outputs, 1)


class CellLoop(nn.Module):
    """An `nn.LSTMCell` and a head at each step."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.LSTMCell(WIDTH, WIDTH), nn.Linear(WIDTH, 8)

    def forward(self, x: Tensor) -> Tensor:
        h = c = x.new_zeros(x.size(0), WIDTH)
        outputs = []
        for t in range(x.size(1)):
            h, c = self.cell(x[:, t], (h, c))
            outputs.append(self.head(h))
        return torch.stack(outputs, 1)


class TwoCells(nn.Module):
    """Two cells one after the other, on numbers one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LSTMCell(1, WIDTH), nn.LSTMCell(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        h, c, g, d = (x.new_zeros(x.size(0), WIDTH) for _ in range(4))
        outputs = []
        for value in x.split(1, dim=1):  # type: ignore[no-untyped-call]
            h, c = self.first(value, (h, c))
            g, d = self.second(h, (g, d))
            outputs.append(self.head(g))
        return torch.cat(outputs, dim=1)


class LayerPerFrame(nn.Module):
    """An `nn.LSTM` of two layers called on one frame after another."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(WIDTH, WIDTH, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        state, outputs = None, []
        for t in range(x.size(1)):
            output, state = self.lstm(x[:, t : t + 1], state)
            outputs.append(output)
        return torch.cat(outputs, 1)


class StackedByHand(nn.Module):
    """Two peephole cells by hand, layer by layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([_Peephole(), _Peephole()])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class _Peephole(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w, self.u = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(WIDTH, 4 * WIDTH)
        self.p = nn.Parameter(torch.randn(3, WIDTH) / 8)

    def forward(self, x: Tensor) -> Tensor:
        h, c = x.new_zeros(x.size(0), WIDTH), x.new_zeros(x.size(0), WIDTH)
        outputs = []
        for frame in x.unbind(1):
            i, f, g, o = torch.split(self.w(frame) + self.u(h), WIDTH, 1)
            c = torch.sigmoid(f + self.p[0] * c) * c + torch.sigmoid(i + self.p[1] * c) * torch.tanh(g)
            h = torch.sigmoid(o + self.p[2] * c) * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs, 1)


class IndRNN(nn.Module):
    """A product of the state with a vector, the rest outside of the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.u = nn.Linear(WIDTH, WIDTH), nn.Parameter(torch.rand(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        h, outputs = x.new_zeros(x.size(0), WIDTH), []
        for frame in self.w(x).unbind(1):
            h = torch.relu(frame + self.u * h)
            outputs.append(h)
        return torch.stack(outputs, 1)


class ForgetMult(nn.Module):
    """A QRNN's pooling, its first step without a state."""

    def __init__(self) -> None:
        super().__init__()
        self.gates = nn.Linear(WIDTH, 2 * WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        z, f = self.gates(x).chunk(2, -1)
        f, c, outputs = f.sigmoid(), None, []
        for value, forget in zip(z.tanh().unbind(1), f.unbind(1), strict=True):
            c = forget * value if c is None else forget * value + (1 - forget) * c
            outputs.append(c)
        return torch.stack(outputs, 1)


class DoneMask(nn.Module):
    """A policy's core, its state reset where an episode has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.core = nn.LSTM(WIDTH, WIDTH)

    def forward(self, x: Tensor, done: Tensor) -> Tensor:
        state = (x.new_zeros(1, x.size(1), WIDTH), x.new_zeros(1, x.size(1), WIDTH))
        outputs = []
        for frame, end in zip(x.unbind(), (1 - done).unbind(), strict=True):
            state = (state[0] * end.view(1, -1, 1), state[1] * end.view(1, -1, 1))
            output, state = self.core(frame.unsqueeze(0), state)
            outputs.append(output)
        return torch.cat(outputs)


class TeacherForced(nn.Module):
    """A decoder with attention over a memory of 12 frames, fed with a given sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.query = nn.LSTMCell(2 * WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        h = c = context = x.new_zeros(x.size(0), WIDTH)
        outputs = []
        for t in range(x.size(1)):
            h, c = self.cell(torch.cat([x[:, t], context], -1), (h, c))
            weights = torch.bmm(memory, self.query(h).unsqueeze(2)).softmax(1)
            context = (weights * memory).sum(1)
            outputs.append(torch.cat([h, context], -1))
        return torch.stack(outputs, 1)


def _frames(batch: int, time: int) -> Tensors:
    return (torch.randn(batch, time, WIDTH),)


def _time_first(batch: int, time: int) -> Tensors:
    return torch.randn(time, batch, WIDTH), (torch.rand(time, batch) > 0.8).float()


MODELS: dict[str, LoopModel] = {
    "ConvLSTM": LoopModel(make=ConvLSTM, example=lambda b, t: (torch.randn(b, t, 4, 16, 16),)),
    "LayerNorm LSTM": LoopModel(make=LayerNormLSTM, example=_frames),
    "LSTMCell": LoopModel(make=CellLoop, example=_frames),
    "two cells on numbers": LoopModel(make=TwoCells, example=lambda b, t: (torch.randn(b, t),)),
    "LSTM frame by frame": LoopModel(make=LayerPerFrame, example=_frames),
    "two peephole layers": LoopModel(make=StackedByHand, example=_frames),
    "IndRNN": LoopModel(make=IndRNN, example=_frames),
    "QRNN forget-mult": LoopModel(make=ForgetMult, example=_frames),
    "LSTM with done mask": LoopModel(make=DoneMask, example=_time_first),
    "attention decoder": LoopModel(
        make=TeacherForced, example=lambda b, t: (torch.randn(b, t, WIDTH), torch.randn(b, 12, WIDTH))
    ),
}


def model_of(name: str) -> tuple[Any, LoopModel]:
    """The model with seeded weights, and its kind."""
    torch.manual_seed(0)
    return MODELS[name].make().eval(), MODELS[name]
