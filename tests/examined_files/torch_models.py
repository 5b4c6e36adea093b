"""Models as people write them around PyTorch's recurrent layers, with an example and the axes that stay free."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

SEED = 20_272


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model, its example inputs in order, and by an input's name which axes are free under which name."""

    make: Callable[[], nn.Module]
    example: tuple[Any, ...]
    names: tuple[str, ...] = ("x",)
    outputs: tuple[str, ...] = ("y",)
    free: dict[str, dict[int, str]] = field(default_factory=lambda: {"x": {0: "B", 1: "T"}})
    free_outputs: dict[str, dict[int, str]] = field(default_factory=lambda: {"y": {0: "B"}})

    def fresh(self) -> tuple[Any, ...]:
        """The example as new tensors: torch.export leaves marks on those that it was given."""
        return tuple(value.clone() for value in self.example)

    def module(self) -> nn.Module:
        """The model with seeded weights, as it is exported."""
        torch.manual_seed(SEED)
        return self.make().eval()


class Tagger(nn.Module):
    """Embedding, two bidirectional layers, a norm and a head on every step."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(21, 5), nn.Linear(16, 4)
        self.rnn = nn.LSTM(5, 8, 2, bidirectional=True, batch_first=True, dropout=0.3)
        self.norm = nn.LayerNorm(16)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.rnn(self.embedding(x))[0])).log_softmax(-1)  # type: ignore[no-any-return]


class LastStep(nn.Module):
    """A regression from the last step."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(5, 8, batch_first=True), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][:, -1])  # type: ignore[no-any-return]


class KeptStep(nn.Module):
    """The last step, its axis kept and then dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.LSTM(5, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][-1:].squeeze(0))  # type: ignore[no-any-return]


class FinalStates(nn.Module):
    """Both directions' final states beside each other."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(5, 8, bidirectional=True, batch_first=True), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        hn = self.rnn(x)[1]
        return self.head(torch.cat([hn[0], hn[1]], -1))  # type: ignore[no-any-return]


class Pooled(nn.Module):
    """The mean over all steps of sequences that are equally long."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.RNN(5, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0].mean(1))  # type: ignore[no-any-return]


class Speech(nn.Module):
    """Bands by convolution, a layer over frames."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.rnn, self.head = nn.Conv1d(21, 6, 3, padding=1), nn.GRU(6, 8), nn.Linear(8, 21)

    def forward(self, x: Tensor) -> Tensor:
        y = self.rnn(self.conv(x).permute(2, 0, 1))[0]
        return self.head(y).permute(1, 2, 0).sigmoid()  # type: ignore[no-any-return]


class Bands(nn.Module):
    """A layer over 21 frequency bands of each frame: the axis that it walks is no time."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(1, 8, batch_first=True, bidirectional=True), nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x[..., None])[0])[..., 0]  # type: ignore[no-any-return]


class Stream(nn.Module):
    """A layer with its states as arguments and results."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.LSTM(5, 8, 2), nn.Linear(8, 5)

    def forward(self, x: Tensor, h0: Tensor, c0: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, (hn, cn) = self.rnn(x, (h0, c0))
        return self.head(y), hn, cn


class Step(nn.Module):
    """A decoder's step."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(5, 8), nn.Linear(8, 5)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = self.cell(x, h)
        return self.head(h), h


class Residual(nn.Module):
    """Two layers, each added to what went in."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LSTM(8, 8, batch_first=True), nn.LSTM(8, 8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.first(x)[0]
        return x + self.second(x)[0]  # type: ignore[no-any-return]


class Attention(nn.Module):
    """A weighted mean of all steps, the weights learned."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.score, self.head = (
            nn.GRU(5, 8, batch_first=True, bidirectional=True),
            nn.Linear(16, 1),
            nn.Linear(16, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.rnn(x)[0]
        return self.head((y * self.score(y).softmax(1)).sum(1))  # type: ignore[no-any-return]


class Translator(nn.Module):
    """A decoder over given tokens that starts from the encoder's final states."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.LSTM(5, 8, batch_first=True), nn.LSTM(5, 8, batch_first=True)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor, given: Tensor) -> Tensor:
        return self.head(self.decoder(given, self.encoder(x)[1])[0])  # type: ignore[no-any-return]


class Twins(nn.Module):
    """One layer over two sequences, and how far apart they end."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(5, 8, batch_first=True)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        return (self.rnn(x)[1][-1] - self.rnn(other)[1][-1]).abs().sum(-1)  # type: ignore[no-any-return]


class Conditioned(nn.Module):
    """A layer whose initial states are made of features."""

    def __init__(self) -> None:
        super().__init__()
        self.h, self.c, self.rnn = nn.Linear(3, 8), nn.Linear(3, 8), nn.LSTM(5, 8, batch_first=True)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        states = (self.h(features)[None], self.c(features)[None])
        return self.rnn(x, states)[0]  # type: ignore[no-any-return]


def _states(count: int) -> dict[str, Any]:
    names = ("h0", "c0")[:count]
    free = {"x": {0: "T", 1: "B"}, **{name: {1: "B"} for name in names}}
    outputs = {"y": {0: "T", 1: "B"}, **{f"{name[0]}n": {1: "B"} for name in names}}
    return {"names": ("x", *names), "outputs": (*outputs,), "free": free, "free_outputs": outputs}


_X = torch.linspace(-1, 1, 3 * 7 * 5).reshape(3, 7, 5)

SUBJECTS: dict[str, Subject] = {
    "tagger": Subject(make=Tagger, example=(torch.arange(21).reshape(3, 7),), free_outputs={"y": {0: "B", 1: "T"}}),
    "last-step": Subject(make=LastStep, example=(_X,)),
    "kept-step": Subject(make=KeptStep, example=(_X,), free={"x": {0: "T", 1: "B"}}),
    "final-states": Subject(make=FinalStates, example=(_X,)),
    "pooled": Subject(make=Pooled, example=(_X,)),
    "speech": Subject(make=Speech, example=(torch.ones(2, 21, 9),), free={"x": {0: "B", 2: "T"}},
                      free_outputs={"y": {0: "B", 2: "T"}}),
    "bands": Subject(make=Bands, example=(torch.ones(4, 21),), free={"x": {0: "N"}}),
    "stream": Subject(make=Stream, example=(_X, torch.zeros(2, 7, 8), torch.zeros(2, 7, 8)), **_states(2)),
    "step": Subject(make=Step, example=(_X[0], torch.zeros(7, 8)), names=("x", "h"), outputs=("y", "hn"),
                    free={"x": {0: "B"}, "h": {0: "B"}}, free_outputs={"y": {0: "B"}, "hn": {0: "B"}}),
    "attention": Subject(make=Attention, example=(_X,)),
    "translator": Subject(make=Translator, example=(_X, _X[:, :4]), names=("x", "given"),
                          free={"x": {0: "B", 1: "T"}, "given": {0: "B", 1: "S"}},
                          free_outputs={"y": {0: "B", 1: "S"}}),
    "twins": Subject(make=Twins, example=(_X, _X[:, :4]), names=("x", "other"),
                     free={"x": {0: "B", 1: "T"}, "other": {0: "B", 1: "S"}}),
    "conditioned": Subject(make=Conditioned, example=(_X, torch.ones(3, 3)), names=("x", "features"),
                           free={"x": {0: "B", 1: "T"}, "features": {0: "B"}}, free_outputs={"y": {0: "B", 1: "T"}}),
    "residual": Subject(make=Residual, example=(torch.ones(3, 7, 8),), free_outputs={"y": {0: "B", 1: "T"}}),
}  # fmt: skip
