"""Small models for the tests of whole-model export; inputs are 5 wide, hidden sizes 8."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence


class Tagger(nn.Module):
    """Embedding, bidirectional LSTM over packed sequences, Linear."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 5)
        self.lstm = nn.LSTM(5, 8, bidirectional=True, batch_first=True)
        self.head = nn.Linear(16, 4)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.embedding(tokens), lengths.cpu(), batch_first=True, enforce_sorted=False)
        output, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=tokens.size(1))
        result: Tensor = self.head(output)
        return result


class PackedRowsModel(nn.Module):
    """Works on the rows of packed sequences between two layers, and pads with another value in the other layout."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 8, batch_first=True)
        self.between = nn.Linear(8, 6)
        self.gru = nn.GRU(6, 8)

    def forward(self, x: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        first, _ = self.lstm(packed)
        rows = PackedSequence(
            torch.relu(self.between(first.data)), first.batch_sizes, first.sorted_indices, first.unsorted_indices
        )
        second, last = self.gru(rows)
        assert isinstance(second, PackedSequence)
        padded, counts = pad_packed_sequence(second, padding_value=-2.0, total_length=x.size(1))
        return {"padded": padded, "last": last, "counts": counts}


class Forward(nn.Module):
    """An LSTM, a cell and whatever `forward` a test wants to do with them."""

    def __init__(self, forward: Any) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 8, batch_first=True)
        self.cell = nn.LSTMCell(5, 8)
        self._forward = forward

    def forward(self, *inputs: Tensor) -> Any:
        return self._forward(self, *inputs)


def tagger_inputs(batch: int, time: int) -> tuple[Tensor, Tensor]:
    return torch.arange(batch * time).reshape(batch, time) % 20, lengths_of(batch, time)


def sequence(batch: int, time: int) -> Tensor:
    return torch.randn(batch, time, 5, generator=torch.Generator().manual_seed(batch * 100 + time))


def lengths_of(batch: int, time: int) -> Tensor:
    """Unsorted, from 1 to the time, which the last row has."""
    return torch.tensor([1 + (row * 3) % time for row in range(batch - 1)] + [time])
