"""Cells written by hand in a loop over time: some compute what PyTorch's do, and some nearly do; x is 5 wide."""

import torch
from torch import Tensor, nn


class GateByGate(nn.Module):
    """An LSTM with one `nn.Linear` over x and h for each gate."""

    def __init__(self) -> None:
        super().__init__()
        self.forget, self.into, self.new, self.out = (nn.Linear(13, 8) for _ in range(4))

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        both = torch.cat([x, h], -1)
        f, i, o = (torch.sigmoid(gate(both)) for gate in (self.forget, self.into, self.out))
        c = f * c + i * torch.tanh(self.new(both))
        return o * torch.tanh(c), c


class ProductsOfParameters(nn.Module):
    """A GRU with plain matrices, its gates in another order and its update gate the other way round."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.u, self.b, self.d = (nn.Parameter(torch.randn(rows, 24) / 3) for rows in (8, 8, 1, 1))

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        of_x, of_h = (x @ self.w + self.b).chunk(3, 1), (h @ self.u + self.d).chunk(3, 1)
        z, r = torch.sigmoid(of_x[0] + of_h[0]), torch.sigmoid(of_x[1] + of_h[1])
        return z * torch.tanh(of_x[2] + r * of_h[2]) + (1 - z) * h


class StackedCells(nn.Module):
    """Both, one after the other at each step, in modules of their own; what is read is their sum."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.gru = GateByGate(), ProductsOfParameters()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = c = g = x.new_zeros(x.size(0), 8)
        outputs = []
        for frame in x.unbind(1):
            h, c = self.lstm(frame, h, c)
            g = self.gru(h, g)
            outputs.append(g + h)
        return torch.stack(outputs, 1), c


class ElmanFromTheEnd(nn.Module):
    """A plain RNN over an embedding, from the last token on."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.cell, self.head = nn.Embedding(11, 6), nn.Linear(14, 8), nn.Linear(8, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        h, outputs = self.head.weight.new_zeros(tokens.size(0), 8), list[Tensor]()
        for t in reversed(range(tokens.size(1))):
            h = torch.relu(self.cell(torch.cat([h, self.embedding(tokens[:, t])], -1)))
            outputs.insert(0, self.head(h))
        return torch.stack(outputs, 1)


class Chunked(nn.Module):
    """An LSTM whose states are arguments, its gates in one product, the three by sigmoid side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.u, self.p = nn.Linear(5, 32), nn.Linear(8, 32, bias=False), nn.Parameter(torch.rand(8))

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        outputs, of_x = [], self.products(x)
        for t in range(x.size(1)):
            h, c = self.step(of_x[:, t] + self.u(h), c)
            outputs.append(h)
        return torch.stack(outputs, 1), h, c

    def products(self, x: Tensor) -> Tensor:
        found: Tensor = self.w(x)
        return found

    def step(self, sums: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        i, o, f = sums[:, :24].sigmoid().chunk(3, 1)
        c = f * c + i * sums[:, 24:].tanh()
        return o * c.tanh(), c


class Peephole(Chunked):
    """Its input gate reads c."""

    def step(self, sums: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        i, o, f, new = sums.chunk(4, 1)
        c = f.sigmoid() * c + (i + self.p * c).sigmoid() * new.tanh()
        return o.sigmoid() * c.tanh(), c


class Zoneout(Chunked):
    """A tenth of c is kept."""

    def step(self, sums: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        h, new = super().step(sums, c)
        return h, 0.1 * c + 0.9 * new


class Clamped(Chunked):
    """Its c is cut off at values that a few random ones do not reach."""

    def step(self, sums: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        h, new = super().step(sums, c)
        return h, new.clamp(-500, 500)


class ResetBefore(nn.Module):
    """A GRU whose reset gate is applied before the product, unlike PyTorch's."""

    def __init__(self) -> None:
        super().__init__()
        self.gates, self.new = nn.Linear(13, 16), nn.Linear(13, 8)

    def forward(self, x: Tensor) -> Tensor:
        h, outputs = x.new_zeros(x.size(0), 8), []
        for frame in x.unbind(1):
            r, z = torch.sigmoid(self.gates(torch.cat([frame, h], -1))).chunk(2, -1)
            h = (1 - z) * torch.tanh(self.new(torch.cat([frame, r * h], -1))) + z * h
            outputs.append(h)
        return torch.stack(outputs, 1)
