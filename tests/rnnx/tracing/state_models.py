"""Models as people write them around states: given, learned, made in forward, taken apart, given back."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - as it is written everywhere
from torch import Tensor, nn


class VoiceActivity(nn.Module):
    """One state of both kinds stacked in one tensor `(2, L, B, H)`, taken and given back."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(5, 8, batch_first=True), nn.Linear(8, 1)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        output, (h, c) = self.lstm(x, (state[0], state[1]))
        return torch.sigmoid(self.head(F.relu(output))).squeeze(-1), torch.stack([h, c])


class TeacherForced(nn.Module):
    """An encoder and a decoder that is fed the target when it trains, and five steps of its own otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder, self.head = (
            nn.GRU(5, 8, batch_first=True),
            nn.GRU(1, 8, batch_first=True),
            nn.Linear(8, 1),
        )

    def forward(self, x: Tensor, target: Tensor | None = None, teacher_forcing: bool = False) -> Tensor:
        _, h = self.encoder(x)
        value, found = x[:, -1:, :1], []
        for step in range(3):
            output, h = self.decoder(value, h)
            value = self.head(output)
            found.append(value)
            if teacher_forcing and target is not None:
                value = target[:, step : step + 1]
        return torch.cat(found, dim=1)


class TiedCharacters(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.lstm = nn.Embedding(12, 8), nn.LSTM(8, 8, num_layers=2)
        self.head = nn.Linear(8, 12)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor, hidden: tuple[Tensor, Tensor] | None = None) -> Any:
        output, hidden = self.lstm(self.embedding(tokens), hidden)
        t, b = tokens.shape
        return self.head(output.view(t * b, -1)).view(t, b, -1), hidden


class SharedTwins(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.LSTM(5, 8, batch_first=True)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        first, second = self.encoder(left)[1][0][-1], self.encoder(right)[1][0][-1]
        return torch.exp(-torch.sum(torch.abs(first - second), dim=1))


class LastOfBoth(nn.Module):
    """The last layer's two final states, told apart by a view."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(5, 8, num_layers=2, bidirectional=True, batch_first=True), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Any:
        _, h = self.gru(x)
        h = h.view(self.gru.num_layers, 2, x.size(0), self.gru.hidden_size)[-1]
        return self.head(torch.cat([h[0], h[1]], dim=-1))


class FlatStates(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(5, 8, num_layers=2, bidirectional=True), nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Any:
        _, h = self.gru(x.transpose(0, 1))
        return self.head(h.transpose(0, 1).reshape(x.shape[0], -1))


class LearnedStart(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru, self.h0 = nn.GRU(5, 8, num_layers=2, batch_first=True), nn.Parameter(torch.randn(2, 1, 8))

    def forward(self, x: Tensor) -> Any:
        output, _ = self.gru(x, self.h0.expand(-1, x.size(0), -1).contiguous())
        return output


class ZeroStart(nn.Module):
    """Zero states made in forward, with a variable that is no gradient's, on the input's device."""

    def __init__(self) -> None:
        super().__init__()
        self.num_layers, self.hidden_size = 2, 8
        self.lstm, self.fc = nn.LSTM(5, 8, 2, batch_first=True), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Any:
        h0 = torch.zeros(self.num_layers, x.size(0), self.hidden_size).to(x.device)
        c0 = torch.zeros(self.num_layers, x.size(0), self.hidden_size, device=x.device).requires_grad_()
        out, _ = self.lstm(x, (h0.detach(), c0.detach()))
        return self.fc(out[:, -1, :])


@dataclass
class Prediction:
    mean: Tensor
    spread: Tensor


class DataclassResult(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru, self.mean, self.spread = nn.GRU(5, 8, batch_first=True), nn.Linear(8, 1), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Prediction:
        y = self.gru(x)[0]
        return Prediction(mean=self.mean(y), spread=F.softplus(self.spread(y)) + 1e-6)


class Pair(NamedTuple):
    logits: Tensor
    state: tuple[Tensor, Tensor]


class NamedResult(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(5, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Pair:
        y, state = self.lstm(x)
        return Pair(self.head(y), state)


class DictAndNested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(5, 8, num_layers=2, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor, *, scale: float = 2.0, state: tuple[Tensor, Tensor] | None = None) -> dict[str, Any]:
        y, (h, c) = self.lstm(x, state)
        return {"logits": self.head(y) * scale, "state": {"h": h, "c": c}, "layers": [h[0], h[1]], "extra": None}


class CellStep(nn.Module):
    """One step of two stacked cells with dropout between, states as a list of pairs."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.ModuleList([nn.LSTMCell(5, 8), nn.LSTMCell(8, 8)])

    def forward(self, x: Tensor, states: list[tuple[Tensor, Tensor]]) -> Any:
        new = []
        for cell, state in zip(self.cells, states, strict=True):
            h, c = cell(x, state)
            new.append((h, c))
            x = F.dropout(h, 0.1, self.training)
        return x, new


class BahdanauStep(nn.Module):
    """One decoder step with additive attention over the encoder's outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.gru = nn.Embedding(12, 4), nn.GRU(4 + 8, 8, batch_first=True)
        self.query, self.key, self.score, self.out = nn.Linear(8, 6), nn.Linear(8, 6), nn.Linear(6, 1), nn.Linear(8, 12)

    def forward(self, token: Tensor, hidden: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query = self.query(hidden.permute(1, 0, 2))
        weights = F.softmax(self.score(torch.tanh(query + self.key(memory))).squeeze(2).unsqueeze(1), dim=-1)
        context = torch.bmm(weights, memory)
        x = torch.cat((self.embedding(token), context), dim=2)
        output, hidden = self.gru(x, hidden)
        return self.out(output), hidden, weights


class Unbatched(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(5, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.lstm(x)[0][-1])


class TimeMajorUnsqueezed(nn.Module):
    """The tutorial's tagger: one sentence, viewed as a batch of one."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.lstm, self.head = nn.Embedding(12, 5), nn.LSTM(5, 8), nn.Linear(8, 3)

    def forward(self, sentence: Tensor) -> Tensor:
        embeds = self.embedding(sentence)
        output, _ = self.lstm(embeds.view(len(sentence), 1, -1))
        return F.log_softmax(self.head(output.view(len(sentence), -1)), dim=1)


class Projected(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 8, num_layers=2, proj_size=4, batch_first=True, bidirectional=True, dropout=0.2)

    def forward(self, x: Tensor) -> Tensor:
        _, (h, c) = self.lstm(x)
        return F.normalize(torch.cat([h[-2], h[-1], c[-1]], dim=1), p=2, dim=1)
