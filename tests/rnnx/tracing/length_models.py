"""Models as people write them around padded sequences: masks, lengths, packing, the last valid step."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class AttentionPool(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 8, bidirectional=True, batch_first=True)
        self.score, self.head = nn.Linear(16, 1), nn.Linear(16, 3)

    def forward(self, x: Tensor, lengths: Tensor) -> Any:
        output, _ = self.lstm(x)
        mask = torch.arange(x.size(1), device=x.device)[None, :] < lengths[:, None]
        weights = self.score(output).squeeze(-1).masked_fill(~mask, float("-inf")).softmax(-1)
        return self.head(torch.bmm(weights.unsqueeze(1), output).squeeze(1))


class NormedRows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.second = (
            nn.LSTM(5, 8, batch_first=True),
            nn.LayerNorm(8),
            nn.LSTM(8, 8, batch_first=True),
        )

    def forward(self, x: Tensor, lengths: Tensor) -> Any:
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        packed, _ = self.first(packed)
        packed = packed._replace(data=self.norm(packed.data))
        _, (h, _) = self.second(packed)
        return h[-1]


class ValidMaximum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 8, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        output, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=x.shape[1])
        mask = torch.arange(x.shape[1]).expand(len(lengths), x.shape[1]) >= lengths.unsqueeze(1)
        return output.masked_fill(mask.unsqueeze(-1), float("-inf")).max(dim=1)[0]


class LastValid(nn.Module):
    """The output at each last valid step, gathered."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(5, 8, batch_first=True), nn.Linear(8, 2)

    def forward(self, x: Tensor, lengths: Tensor) -> Any:
        output, _ = self.lstm(x)
        index = (lengths - 1).view(-1, 1, 1).expand(-1, 1, output.size(2))
        return self.head(output.gather(1, index).squeeze(1))


class ArangeLast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(5, 8, batch_first=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Any:
        return self.gru(x)[0][torch.arange(x.size(0)), lengths - 1]


class SortedPacking(nn.Module):
    """Rows sorted by length by hand, packed, and put back in order."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(5, 8, batch_first=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Any:
        ordered, places = lengths.sort(descending=True)
        _, back = places.sort()
        packed = pack_padded_sequence(x[places], ordered, batch_first=True)
        output, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=x.size(1))
        return output[back]


class MeanOverValid(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.lstm = nn.Embedding(12, 5, padding_idx=0), nn.LSTM(5, 8, batch_first=True)

    def forward(self, tokens: Tensor) -> Any:
        mask = (tokens != 0).unsqueeze(-1)
        output, _ = self.lstm(self.embedding(tokens))
        return (output * mask).sum(1) / mask.sum(1).clamp(min=1)


class LengthsFromPadding(nn.Module):
    """Lengths counted from the padding token."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.lstm = nn.Embedding(12, 5, padding_idx=0), nn.LSTM(5, 8, batch_first=True)

    def forward(self, tokens: Tensor) -> Any:
        lengths = (tokens != 0).sum(dim=1).clamp(min=1).cpu()
        packed = pack_padded_sequence(self.embedding(tokens), lengths, batch_first=True, enforce_sorted=False)
        _, (h, _) = self.lstm(packed)
        return h.squeeze(0)
