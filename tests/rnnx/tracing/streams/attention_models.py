"""Attention over a bounded window of frames, in the ways that people write it, and what has no bound."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

WINDOW = 4


def apart(x: Tensor) -> Tensor:
    """How many frames each comes after each, of `x (B, T, …)`."""
    places = torch.arange(x.size(1))
    return places[:, None] - places[None]


def band(x: Tensor) -> Tensor:
    """Whether a frame sees another: itself and the three before it."""
    return (apart(x) >= 0) & (apart(x) < WINDOW)


class Heads(nn.Module):
    """Queries, keys and values of two heads, and their results as one."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.last = (nn.Linear(8, 8) for _ in range(4))
        self.register_buffer("table", torch.ones(400, 400).tril() - torch.ones(400, 400).tril(-WINDOW))
        self.bias = nn.Parameter(torch.randn(2, 7))

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = (
            part(x).view(x.size(0), x.size(1), 2, 4).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        return query, key, value

    def merged(self, y: Tensor) -> Tensor:
        result: Tensor = self.last(y.transpose(1, 2).reshape(y.size(0), y.size(2), 8))
        return result


class Fused(Heads):
    """`scaled_dot_product_attention` with a mask of each kind."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def mask(self, x: Tensor) -> Tensor | None:
        if self.kind == "sloped":
            slopes = torch.tensor([0.5, 0.25]).view(2, 1, 1)
            return (-apart(x) * slopes).masked_fill(~band(x), -torch.inf).unsqueeze(0)
        if self.kind == "chunks":
            chunk = torch.arange(x.size(1)) // 4
            return (chunk[None] <= chunk[:, None]) & (chunk[None] >= chunk[:, None] - 1)
        if self.kind == "strictly-earlier":
            return (apart(x) > 0) & (apart(x) < WINDOW)
        if self.kind == "of-values":
            return band(x) & (x[..., 0] > -5)[:, None, None, :]
        return None if self.kind == "causal" else band(x)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.heads(x)
        if self.kind == "rotary":
            query, key = _rotated(query), _rotated(key)
        found = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=self.mask(x), is_causal=self.kind == "causal"
        )
        return self.merged(found)


def _rotated(x: Tensor) -> Tensor:
    angles = torch.arange(x.size(2)).float()[:, None] * (0.1 ** torch.arange(0, 4, 2).float())
    one, other = x[..., ::2], x[..., 1::2]
    return torch.cat([one * angles.cos() - other * angles.sin(), one * angles.sin() + other * angles.cos()], -1)


class Written(Heads):
    """A softmax of scores and masks, written out."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def weights(self, x: Tensor, scores: Tensor) -> Tensor:
        time = x.size(1)
        if self.kind == "tril":
            inside = torch.tril(torch.ones(time, time)) - torch.tril(torch.ones(time, time), -WINDOW)
            return scores.masked_fill(inside == 0, float("-inf")).softmax(-1)
        if self.kind == "triu-added":
            full = torch.full((time, time), float("-inf"))
            return torch.softmax(scores + (full.triu(1) + full.tril(-WINDOW)), -1)
        if self.kind == "buffer":
            return torch.softmax(torch.where(self.table[:time, :time] > 0, scores, -1e9), -1)  # type: ignore[index]
        if self.kind == "in-place":
            mask = torch.zeros(time, time)
            mask[~band(x)] = float("-inf")
            scores += mask
            return scores.softmax(-1)
        if self.kind == "biased":
            return (scores + self.bias[:, apart(x).clamp(-3, 3) + 3]).masked_fill(~band(x), -torch.inf).softmax(-1)
        if self.kind == "decayed":
            return scores * torch.where(band(x), 0.9 ** apart(x).clamp(min=0).float(), 0.0)
        if self.kind == "later-frames":
            return (scores + torch.where((apart(x) < 5) & (apart(x) >= -2), 0.0, -torch.inf)).softmax(-1)
        if self.kind == "tril-alone":
            return scores.masked_fill(~torch.ones(time, time, dtype=torch.bool).tril(), -1e9).softmax(-1)
        return scores.softmax(-1)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.heads(x)
        if self.kind == "buffer":
            scores = torch.einsum("bhqd,bhkd->bhqk", query, key) / 2
            return self.merged(torch.einsum("bhqk,bhkd->bhqd", self.weights(x, scores), value))
        scores = query @ key.transpose(-2, -1) / math.sqrt(query.size(-1))
        return self.merged(self.weights(x, scores) @ value)


class Multihead(nn.Module):
    """`nn.MultiheadAttention` over frames, with its weights or without, or over the frames of each of three bands."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.attention, self.kind = nn.MultiheadAttention(4, 2, batch_first=True), kind
        self.layer = nn.GRU(4, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "rows":
            batch, time, bands, width = x.shape
            rows = x.transpose(1, 2).reshape(batch * bands, time, width)
            found = self.attention(rows, rows, rows, attn_mask=~band(rows), need_weights=False)[0]
            by_bands: Tensor = found.reshape(batch, bands, time, width).transpose(1, 2)
            return by_bands
        output, weights = self.attention(x, x, x, attn_mask=~band(x), need_weights=self.kind != "plain")
        result: Tensor = weights if self.kind == "weights-out" else self.layer(output)[0]
        return result


class Conformer(nn.Module):
    """A stride, attention behind a norm, a causal convolution, and a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.front, self.conv = nn.Conv1d(8, 8, 3, 2, 1), nn.Conv1d(8, 8, 5, groups=8)
        self.attention, self.norm, self.layer = Fused("band"), nn.LayerNorm(8), nn.GRU(8, 8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.front(x.transpose(1, 2)).transpose(1, 2)
        x = x + self.attention(self.norm(x))
        x = x + self.conv(functional.pad(x.transpose(1, 2), (4, 0))).transpose(1, 2)
        output: Tensor = self.layer(x)[0]
        return output
