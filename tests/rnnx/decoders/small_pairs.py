"""A small encoder and decoder as people write them, with attention, and what PyTorch decodes with them."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnnx.decoders.pair_options import Seq2SeqOptions

VOCABULARY, HIDDEN, START, END, STEPS = 6, 4, 1, 2, 7


class Encoder(nn.Module):
    """A bidirectional LSTM or GRU over packed letters; gives the decoder's first state, and the memory."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        layer = nn.LSTM if kind == "lstm" else nn.GRU
        self.embedding = nn.Embedding(9, 5)
        self.layer = layer(5, HIDDEN, bidirectional=True)

    def forward(self, letters: Tensor, lengths: Tensor) -> tuple[Tensor | tuple[Tensor, Tensor], Tensor]:
        packed = pack_padded_sequence(self.embedding(letters), lengths, enforce_sorted=False)
        memory, last = self.layer(packed)
        memory, _ = pad_packed_sequence(memory, total_length=letters.shape[0])
        if isinstance(last, tuple):
            return (torch.cat([*last[0]], -1), torch.cat([*last[1]], -1)), memory
        return torch.cat([*last], -1), memory


class Decoder(nn.Module):
    """A cell with attention over the memory, each row's own letters alone."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        cell = nn.LSTMCell if kind == "lstm" else nn.GRUCell
        self.embedding = nn.Embedding(VOCABULARY, 5)
        self.cell = cell(5, 2 * HIDDEN)
        self.head = nn.Linear(4 * HIDDEN, VOCABULARY)

    def forward(
        self, token: Tensor, state: Tensor | tuple[Tensor, Tensor], memory: Tensor, lengths: Tensor
    ) -> tuple[Tensor, Tensor | tuple[Tensor, Tensor]]:
        state = self.cell(self.embedding(token), state)
        h = state[0] if isinstance(state, tuple) else state
        scores = torch.einsum("bh,tbh->bt", h, memory)
        scores = scores.masked_fill(torch.arange(memory.shape[0]) >= lengths[:, None], float("-inf"))
        context = torch.einsum("bt,tbh->bh", torch.softmax(scores, -1), memory)
        return 8 * self.head(torch.cat([h, context], -1)), state


def pair_of(kind: str) -> tuple[Encoder, Decoder]:
    """Both with the same weights each time, large enough to tell tokens apart."""
    torch.manual_seed(4)
    pair = Encoder(kind).eval(), Decoder(kind).eval()
    with torch.no_grad():
        for parameter in (*pair[0].embedding.parameters(), *pair[1].parameters()):
            parameter.mul_(3.0)
    return pair


def example() -> tuple[Tensor, Tensor]:
    """Letters `(T, B)` and lengths."""
    torch.manual_seed(0)
    return torch.randint(0, 9, (5, 3)), torch.tensor([5, 2, 4])


def options(**others: bool) -> Seq2SeqOptions:
    """Where decoding starts and ends."""
    return Seq2SeqOptions(start_token=START, end_token=END, pad_token=0, max_steps=STEPS, **others)


def drawn(batch: int, seed: int) -> tuple[Tensor, Tensor]:
    """Letters of another time and batch than the example's, and lengths, one of them whole."""
    torch.manual_seed(seed)
    lengths = torch.randint(1, 8, (batch,))
    lengths[0] = 7
    return torch.randint(0, 9, (7, batch)), lengths


@torch.no_grad()
def decoded(pair: tuple[Encoder, Decoder], letters: Tensor, lengths: Tensor, steps: int = STEPS) -> list[list[int]]:
    """PyTorch's greedy decoding, each row alone and cut to its own length."""
    encoder, decoder = pair
    rows = []
    for row, length in enumerate(lengths.tolist()):
        own = torch.tensor([length])
        state, memory = encoder(letters[:length, row : row + 1], own)
        token, tokens = torch.tensor([START]), list[int]()
        while len(tokens) < steps and END not in tokens:
            logits, state = decoder(token, state, memory, own)
            token = logits.argmax(-1)
            tokens.append(int(token))
        rows.append(tokens[: tokens.index(END)] if END in tokens else tokens)
    return rows
