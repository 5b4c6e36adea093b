"""The network: a bidirectional recurrent encoder, a recurrent cell as decoder, attention in the output head."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from g2p.dictionary import END, LETTERS, PAD, PHONEMES, START

Kind = Literal["lstm", "gru"]

MAX_PHONEMES = 32


class Speller(nn.Module):
    """Letters in, phoneme scores out.

    The decoder cell starts from the last encoder layer's `hn` (and `cn`), forward and backward halves side by side,
    and reads only the previous phoneme; attention over the encoder's output sits in the head, behind the cell, so the
    cell is the plain recurrence `h, c = cell(x, (h, c))` of `nn.LSTMCell` and `nn.GRUCell`.
    """

    def __init__(self, kind: Kind, embedding: int, hidden: int, dropout: float) -> None:
        super().__init__()
        layer, cell = {"lstm": (nn.LSTM, nn.LSTMCell), "gru": (nn.GRU, nn.GRUCell)}[kind]
        self.letters = nn.Embedding(len(LETTERS), embedding, padding_idx=PAD)
        self.encoder = layer(embedding, hidden, num_layers=2, bidirectional=True, dropout=dropout)
        self.phonemes = nn.Embedding(len(PHONEMES), embedding, padding_idx=PAD)
        self.decoder = cell(embedding, 2 * hidden)
        self.query = nn.Linear(2 * hidden, 2 * hidden, bias=False)
        self.combine = nn.Linear(4 * hidden, hidden)
        self.head = nn.Linear(hidden, len(PHONEMES))
        self.drop = nn.Dropout(dropout)

    def forward(self, letters: Tensor, spoken: Tensor) -> Tensor:
        """Teacher-forced scores `(N, B, phonemes)` from letters `(T, B)` of equal length and spoken `(N, B)`."""
        memory, state = self.encode(letters)
        outputs = []
        for x in self.drop(self.phonemes(spoken)):
            state = self.decoder(x, state)
            outputs.append(state[0] if isinstance(state, tuple) else state)
        return self.score(torch.stack(outputs), memory)

    def encode(self, letters: Tensor) -> tuple[Tensor, Tensor | tuple[Tensor, Tensor]]:
        """The encoder's output `(T, B, 2H)` and the decoder's first state, each part `(B, 2H)`."""
        memory, last = self.encoder(self.drop(self.letters(letters)))
        if isinstance(last, tuple):
            hn, cn = last
            return memory, (_side_by_side(hn), _side_by_side(cn))
        return memory, _side_by_side(last)

    def score(self, outputs: Tensor, memory: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Scores `(N, B, phonemes)` of cell outputs `(N, B, 2H)` attending to memory `(T, B, 2H)`.

        Global attention with the "general" score of Luong, Pham and Manning (2015), equations 5, 7 and 8; with lengths
        `(B,)` only to each word's own letters.
        """
        relevance = torch.einsum("nbh,tbh->nbt", self.query(outputs), memory)
        if lengths is not None:
            padding = torch.arange(memory.shape[0]) >= lengths[:, None]
            relevance = relevance.masked_fill(padding, float("-inf"))
        weights = torch.softmax(relevance, dim=-1)
        context = torch.einsum("nbt,tbh->nbh", weights, memory)
        attentional = torch.tanh(self.combine(torch.cat([context, outputs], dim=-1)))
        scores: Tensor = self.head(self.drop(attentional))
        return scores

    @torch.inference_mode()
    def pronounce(self, letters: Tensor) -> list[tuple[int, ...]]:
        """Greedy phonemes of each word in letters `(T, B)`, up to and without `END`."""
        memory, state = self.encode(letters)
        previous = torch.full((letters.shape[1],), START)
        steps = []
        for _ in range(MAX_PHONEMES):
            state = self.decoder(self.phonemes(previous), state)
            output = state[0] if isinstance(state, tuple) else state
            previous = self.score(output[None], memory)[0].argmax(dim=-1)
            steps.append(previous)
        rows = torch.stack(steps, dim=1).tolist()
        return [tuple(row[: row.index(END)] if END in row else row) for row in rows]


class SpellerEncoder(nn.Module):
    """A speller's encoder alone, for words of any lengths side by side."""

    def __init__(self, speller: Speller) -> None:
        super().__init__()
        self.speller = speller

    def forward(self, letters: Tensor, lengths: Tensor) -> tuple[Tensor | tuple[Tensor, Tensor], Tensor]:
        """The decoder's first state, each part `(B, 2H)`, and the memory `(T, B, 2H)` of letters `(T, B)`."""
        packed = pack_padded_sequence(self.speller.letters(letters), lengths, enforce_sorted=False)
        memory, last = self.speller.encoder(packed)
        memory, _ = pad_packed_sequence(memory, total_length=letters.shape[0])
        if isinstance(last, tuple):
            return (_side_by_side(last[0]), _side_by_side(last[1])), memory
        return _side_by_side(last), memory


class SpellerStep(nn.Module):
    """A speller's decoder alone, one phoneme at a time."""

    def __init__(self, speller: Speller) -> None:
        super().__init__()
        self.speller = speller

    def forward(
        self, token: Tensor, state: Tensor | tuple[Tensor, Tensor], memory: Tensor, lengths: Tensor
    ) -> tuple[Tensor, Tensor | tuple[Tensor, Tensor]]:
        """Scores `(B, phonemes)` of what follows `token (B,)`, and the state after it."""
        state = self.speller.decoder(self.speller.phonemes(token), state)
        output = state[0] if isinstance(state, tuple) else state
        return self.speller.score(output[None], memory, lengths)[0], state


def _side_by_side(state: Tensor) -> Tensor:
    """The last layer's forward and backward states `(L·2, B, H)` as one `(B, 2H)`."""
    return torch.cat([state[-2], state[-1]], dim=-1)
