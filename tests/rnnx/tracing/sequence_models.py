"""Models as people write them around whole sequences: front ends, norms, attention, splits and heads."""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - as it is written everywhere
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm


class SpeechCtc(nn.Module):
    """Two strided convolutions over time and frequency, two bidirectional layers, log-probabilities in time order."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, 3, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(3, 4, 3, stride=2, padding=1),
            nn.Hardtanh(0, 20),
        )
        self.lstm = nn.LSTM(8, 8, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(16, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolutions(x.unsqueeze(1))
        b, c, t, f = x.size()
        x = x.permute(0, 2, 1, 3).contiguous().view(b, t, c * f)
        return F.log_softmax(self.head(self.lstm(x)[0]), dim=-1).transpose(0, 1)


class Residuals(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.LSTM(5, 5, batch_first=True) for _ in range(3)])
        self.dropout = nn.Dropout(0.3)

    def forward(self, x: Tensor) -> Any:
        for index, layer in enumerate(self.layers):
            output, _ = layer(x)
            x = x + self.dropout(output) if index else output
        return x


class SelectItem(nn.Module):
    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index

    def forward(self, results: Any) -> Any:
        return results[self.index]


class TimeDistributed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.before, self.lstm, self.after = nn.Linear(5, 6), nn.LSTM(6, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Any:
        b, t, f = x.shape
        x = self.before(x.contiguous().view(-1, f)).view(b, t, -1)
        x, _ = self.lstm(x)
        return self.after(x.reshape(b * t, -1)).reshape(b, t, 3)


class Flipped(nn.Module):
    """Two directions written by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.forwards, self.backwards = nn.LSTM(5, 8, batch_first=True), nn.LSTM(5, 8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.forwards(x)[0], self.backwards(x.flip(1))[0].flip([1])], dim=2)


class EmbeddingBagged(nn.Module):
    """Words as bags of letters: an embedding bag over the last axis, then an LSTM over the words."""

    def __init__(self) -> None:
        super().__init__()
        self.bag, self.lstm = nn.EmbeddingBag(12, 5, mode="mean"), nn.LSTM(5, 8, batch_first=True)

    def forward(self, letters: Tensor) -> Any:
        b, t, n = letters.shape
        words = self.bag(letters.view(b * t, n)).view(b, t, -1)
        return self.lstm(words)[0]


class OneHot(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.RNN(12, 8, batch_first=True), nn.Linear(8, 12)

    def forward(self, tokens: Tensor) -> Any:
        return self.head(self.rnn(F.one_hot(tokens.long(), 12).float())[0])


class SameConvolutions(nn.Module):
    """`padding='same'`, batch norm and max pooling over time, before and between the layers."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv1d(5, 6, 4, padding="same"), nn.BatchNorm1d(6)
        self.first, self.second = nn.GRU(6, 8, batch_first=True), nn.GRU(8, 8, batch_first=True)
        self.between, self.dropout = nn.BatchNorm1d(8), nn.Dropout1d(0.2)

    def forward(self, x: Tensor) -> Any:
        x = F.gelu(self.norm(self.convolution(x.transpose(1, 2)))).transpose(1, 2)
        x = self.between(self.first(x)[0].permute(0, 2, 1))
        return self.second(self.dropout(x).permute(0, 2, 1))[0]


class Block(nn.Module):
    """Self-attention and an LSTM in place of positions, each with its own residual."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.project = nn.LSTM(8, 8, batch_first=True, bidirectional=True), nn.Linear(16, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.first, self.second, self.enter = nn.LayerNorm(8), nn.LayerNorm(8), nn.Linear(5, 8)

    def forward(self, x: Tensor, padding: Tensor) -> Any:
        x = self.enter(x)
        x = x + self.project(self.lstm(self.first(x))[0])
        y = self.second(x)
        return x + self.attention(y, y, y, key_padding_mask=padding, need_weights=False)[0]


class Transformed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.lstm, self.encoder = nn.LSTM(5, 8, batch_first=True), nn.TransformerEncoder(layer, 2)

    def forward(self, x: Tensor) -> Any:
        return self.encoder(self.lstm(x)[0]).mean(dim=1)


class Quantiles(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 8, batch_first=True)
        self.heads = nn.ModuleList([nn.Linear(8, 1) for _ in range(3)])

    def forward(self, x: Tensor) -> Tensor:
        last = self.lstm(x)[0][:, -1]
        low, middle, high = torch.stack([head(last) for head in self.heads], dim=1).squeeze(-1).unbind(1)
        return torch.stack([middle - F.softplus(low), middle, middle + F.softplus(high)], dim=-1)


class OwnLstm(nn.LSTM):
    """A layer that normalizes what goes in and gives its outputs alone."""

    def forward(self, x: Tensor) -> Any:  # type: ignore[override]
        output, _ = super().forward(F.layer_norm(x, (5,)))
        return output


class InheritingModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = OwnLstm(5, 8, batch_first=True), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.lstm(x))


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = weight_norm(nn.LSTM(5, 8, batch_first=True), "weight_hh_l0")
        self.head = weight_norm(nn.Linear(8, 2))

    def forward(self, x: Tensor) -> Any:
        return self.head(self.lstm(x)[0])


class SplitFeatures(nn.Module):
    """Features split, states unbound, outputs of two directions chunked."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.first, self.second = (
            nn.LSTM(3, 8, bidirectional=True, batch_first=True),
            nn.Linear(8, 2),
            nn.Linear(2, 2),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        main, extra = torch.split(x, [3, 2], dim=-1)
        output, (h, _) = self.lstm(main)
        ahead, back = output.chunk(2, dim=-1)
        first, last = h.unbind(0)
        return self.first(ahead + back) + self.second(extra), first * torch.sigmoid(last)


class Windows(nn.Module):
    """Overlapping windows of frames by unfold, and a skip through differences in time."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(15, 8, batch_first=True)

    def forward(self, x: Tensor) -> Any:
        x = F.pad(x, (0, 0, 1, 1))
        return self.lstm(x.unfold(1, 3, 1).flatten(2))[0]


class NormalizedInput(nn.Module):
    """Statistics over time, buffers, an einsum and differences of frames."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.randn(5))
        self.gru, self.mix = nn.GRU(10, 8, batch_first=True, bidirectional=True), nn.Parameter(torch.randn(16, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = (x - self.mean) / (x.std(dim=1, keepdim=True, unbiased=False) + 1e-5)
        change = torch.cat([torch.zeros_like(x[:, :1]), x[:, 1:] - x[:, :-1]], dim=1)
        return torch.einsum("bth,hk->btk", self.gru(torch.cat([x, change], -1))[0], self.mix)


class Hierarchy(nn.Module):
    """Words into sentences: the batch of the first layer is sentences times documents."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.sentences = nn.GRU(5, 8, batch_first=True), nn.GRU(8, 8, batch_first=True)

    def forward(self, x: Tensor) -> Any:
        d, s, w, f = x.shape
        _, h = self.words(x.view(d * s, w, f))
        return self.sentences(h[-1].view(d, s, -1))[0]
