"""Models that take their caches and give them back, in the ways that people write them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class Causal(nn.Module):
    """A convolution over the cache `(B, 4, 2)` and the frames; `kind` says how the cache is cut out of them."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.conv, self.head, self.kind = nn.Conv1d(4, 4, 3), nn.Linear(4, 3), kind

    def forward(self, x: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        frames = torch.cat([cache, x.transpose(1, 2)], 2)
        y = self.head(torch.relu(self.conv(frames)).transpose(1, 2))
        if self.kind == "slice":
            return y, frames[:, :, -2:]
        if self.kind == "narrow":
            return y, frames.narrow(2, x.size(1), 2)
        if self.kind == "from-the-size":
            return y, frames[..., frames.size(2) - cache.size(2) :]
        return y, frames[..., :2]  # the first frames, which are no cache


class TimeFirst(nn.Module):
    """A cache `(B, 2, 4)` beside frames `(B, T, 4)`, cut behind a transpose."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 4, 3)

    def forward(self, x: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        frames = torch.cat([cache, x], 1).transpose(1, 2)
        return self.conv(frames).transpose(1, 2), frames[..., x.size(1) :].transpose(1, 2)


class Stack(nn.Module):
    """One cache `(2, B, 4, 2)` for two convolutions, given back stacked or written in place."""

    def __init__(self, *, in_place: bool) -> None:
        super().__init__()
        self.convs, self.in_place = nn.ModuleList([nn.Conv1d(4, 4, 3), nn.Conv1d(4, 4, 3)]), in_place

    def forward(self, x: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        y, after, parts = x.transpose(1, 2), cache.clone(), []
        for place, conv in enumerate(self.convs):
            frames = torch.cat([cache[place], y], -1)
            parts.append(frames[:, :, -2:])
            after[place] = frames[:, :, -2:]
            y = torch.relu(conv(frames))
        return y.transpose(1, 2), after if self.in_place else torch.stack(parts)


class Listed(nn.Module):
    """A list of caches of several lengths, residual layers, and a layer whose state is an input."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv1d(4, 4, 3, groups=4, dilation=size) for size in (1, 2)])
        self.layer = nn.GRU(4, 5, batch_first=True)

    def forward(self, x: Tensor, caches: Sequence[Tensor], h: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        y, after = x, []
        for conv, cache in zip(self.convs, caches, strict=True):
            frames = torch.cat([cache, y], 2)
            after.append(frames[:, :, -cache.size(2) :])
            y = conv(frames) + y
        output, h = self.layer(y.transpose(1, 2), h)
        return output, after, h


class WindowOfKeys(nn.Module):
    """Attention over the keys and values of the last four frames and this call's."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        keys, values = torch.cat([keys, self.key(x)], 1), torch.cat([values, self.value(x)], 1)
        queried = torch.arange(x.size(1)).unsqueeze(1) + 4
        seen = torch.arange(x.size(1) + 4).unsqueeze(0)
        mask = (seen <= queried) & (seen > queried - 5)
        y = functional.scaled_dot_product_attention(self.query(x), keys, values, attn_mask=mask)
        return y, keys[:, -4:], values[:, -4:]


class Strided(nn.Module):
    """A stride of two over a cache of one frame."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 5, 3, stride=2)

    def forward(self, x: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        frames = torch.cat([cache, x.transpose(1, 2)], -1)
        return torch.relu(self.conv(frames)).transpose(1, 2), frames[..., -1:]


class History(nn.Module):
    """The last five observations of a policy that takes one a call."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(20, 3)

    def forward(self, x: Tensor, history: Tensor) -> tuple[Tensor, Tensor]:
        history = torch.cat([history[:, 1:], x.unsqueeze(1)], 1)
        return self.head(history.flatten(1)), history


class OwnState(nn.Module):
    """A cache of its own before a layer that starts from zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.layer = nn.Conv1d(4, 5, 3), nn.GRU(5, 6, batch_first=True)

    def forward(self, x: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        frames = torch.cat([cache, x.transpose(1, 2)], -1)
        return self.layer(torch.relu(self.conv(frames)).transpose(1, 2))[0], frames[..., -2:]


class Gated(nn.Module):
    """A cache beside the state of a cell written by hand, one frame a call."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.gate = nn.Linear(12, 5), nn.Linear(12, 5)

    def forward(self, x: Tensor, cache: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        frames = torch.cat([cache, x.unsqueeze(2)], 2)
        z, n = torch.sigmoid(self.gate(frames.flatten(1))), torch.tanh(self.inner(frames.flatten(1)))
        h = (1 - z) * n + z * h
        return h * 2, frames[..., 1:], h
