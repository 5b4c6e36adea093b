"""Models with recurrent layers in them as people have them, small enough to read; `model_shapes` gives them inputs."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

WORDS, CHARACTERS, TAGS, BANDS = 50, 30, 7, 20
"""Sizes of vocabularies, of the tags and of a spectrum."""

State = tuple[Tensor, Tensor]


class Tagger(nn.Module):
    """A tag for each word: embedding, a packed bidirectional LSTM, a linear layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, width)
        self.lstm = nn.LSTM(width, width, num_layers=2, dropout=0.3, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * width, TAGS)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Logits `(B, T, TAGS)` of tokens `(B, T)`."""
        packed = pack_padded_sequence(self.embedding(tokens), lengths.cpu(), batch_first=True, enforce_sorted=False)
        output, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        logits: Tensor = self.head(output)
        return logits


class KeywordSpotter(nn.Module):
    """A keyword in a recording: two convolutions that halve the time, a GRU, a linear layer on its last state."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.front = nn.Sequential(
            nn.Conv1d(BANDS, width, 5, stride=2, padding=2),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Conv1d(width, width, 3, padding=1),
            nn.ReLU(),
        )
        self.gru = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, TAGS)

    def forward(self, spectrum: Tensor) -> Tensor:
        """Logits `(B, TAGS)` of a spectrum `(B, T, BANDS)`."""
        _, hn = self.gru(self.front(spectrum.transpose(1, 2)).transpose(1, 2))
        logits: Tensor = self.head(hn.squeeze(0))
        return logits


class ResidualStack(nn.Module):
    """Bidirectional LSTMs on top of each other, each added to what it read and normalized."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.entry = nn.Linear(BANDS, 2 * width)
        self.layers = nn.ModuleList(nn.LSTM(2 * width, width, bidirectional=True) for _ in range(3))
        self.norms = nn.ModuleList(nn.LayerNorm(2 * width) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """`(T, B, 2·width)` from `(T, B, BANDS)`."""
        x = self.entry(x)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = norm(x + layer(x)[0])
        return x


class TwoStreams(nn.Module):
    """Two LSTMs in parallel: one reads the signal, the other its change from frame to frame."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.level = nn.LSTM(BANDS, width, batch_first=True)
        self.change = nn.LSTM(BANDS, width, batch_first=True)
        self.head = nn.Linear(2 * width, TAGS)

    def forward(self, signal: Tensor) -> Tensor:
        """`(B, T, TAGS)` from `(B, T, BANDS)`."""
        change = signal - functional.pad(signal, (0, 0, 1, 0))[:, :-1]
        both = torch.cat([self.level(signal)[0], self.change(change)[0]], dim=-1)
        result: Tensor = self.head(both)
        return result


class AttentiveClassifier(nn.Module):
    """A weighted mean over an encoder's outputs, whose weights leave out what lies past a sequence's end."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, width)
        self.encoder = nn.GRU(width, width, batch_first=True, bidirectional=True)
        self.score = nn.Linear(2 * width, 1)
        self.head = nn.Linear(2 * width, TAGS)

    def forward(self, tokens: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """`logits (B, TAGS)` and `attention (B, T)`."""
        packed = pack_padded_sequence(self.embedding(tokens), lengths, batch_first=True, enforce_sorted=False)
        output, _ = pad_packed_sequence(self.encoder(packed)[0], batch_first=True, total_length=tokens.size(1))
        valid = torch.arange(tokens.size(1), device=tokens.device)[None, :] < lengths[:, None]
        scores = self.score(torch.tanh(output)).squeeze(-1).masked_fill(~valid, float("-inf"))
        attention = scores.softmax(dim=-1)
        return {"logits": self.head(torch.einsum("bt,bth->bh", attention, output)), "attention": attention}


class SequenceClassifier(nn.Module):
    """A class for each sequence from the last layer's last state, `hn[-1]`, at its own last step."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, width, padding_idx=0)
        self.lstm = nn.LSTM(width, width, num_layers=2, batch_first=True)
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, TAGS))

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Logits `(B, TAGS)` of tokens `(B, T)`."""
        packed = pack_padded_sequence(self.embedding(tokens), lengths, batch_first=True, enforce_sorted=False)
        _, (hn, _) = self.lstm(packed)
        logits: Tensor = self.head(hn[-1])
        return logits


class SoundEvents(nn.Module):
    """Sounds in each frame of a recording: convolutions over time and frequency, pooled in frequency, a BiLSTM."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.front = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d((1, 4)), nn.Dropout2d(0.2)
        )
        self.lstm = nn.LSTM(width * (BANDS // 4), width, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * width, TAGS)

    def forward(self, spectrum: Tensor) -> Tensor:
        """Probabilities `(B, T, TAGS)` of a spectrum `(B, T, BANDS)`."""
        maps = self.front(spectrum.unsqueeze(1))
        frames = maps.permute(0, 2, 1, 3).reshape(maps.size(0), maps.size(2), -1)
        return torch.sigmoid(self.head(self.lstm(frames)[0]))


class CellStack(nn.Module):
    """One step of a controller: LSTM cells on top of each other, their states stacked."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.cells = nn.ModuleList(nn.LSTMCell(BANDS if depth == 0 else width, width) for depth in range(3))
        self.head = nn.Linear(width, TAGS)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`(B, TAGS)` and the next `h`, `c (3, B, width)` from `x (B, BANDS)`."""
        states = []
        for depth, cell in enumerate(self.cells):
            states.append(cell(x, (h[depth], c[depth])))
            x = states[-1][0]
        return self.head(x), torch.stack([h for h, _ in states]), torch.stack([c for _, c in states])


class Translator(nn.Module):
    """Sequence to sequence with attention, over given targets: encoder LSTM, decoder LSTM, dot products between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.source_embedding = nn.Embedding(WORDS, width)
        self.target_embedding = nn.Embedding(WORDS, width)
        self.encoder = nn.LSTM(width, width, batch_first=True)
        self.decoder = nn.LSTM(width, width, batch_first=True)
        self.head = nn.Linear(2 * width, WORDS)

    def forward(self, source: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
        """Logits `(B, S, WORDS)` for a target `(B, S)` of a source `(B, T)`."""
        packed = pack_padded_sequence(self.source_embedding(source), lengths, batch_first=True, enforce_sorted=False)
        packed_memory, state = self.encoder(packed)
        memory, _ = pad_packed_sequence(packed_memory, batch_first=True, total_length=source.size(1))
        output, _ = self.decoder(self.target_embedding(target), state)
        past_end = torch.arange(source.size(1))[None, None, :] >= lengths[:, None, None]
        scores = (output @ memory.transpose(1, 2)).masked_fill(past_end, float("-inf"))
        logits: Tensor = self.head(torch.cat([output, scores.softmax(dim=-1) @ memory], dim=-1))
        return logits


class Recognizer(nn.Module):
    """Speech to characters by CTC: a convolution that halves the time and the lengths, a BiGRU, log-probabilities."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.front = nn.Conv1d(BANDS, width, 3, stride=2, padding=1)
        self.gru = nn.GRU(width, width, num_layers=2, bidirectional=True)
        self.head = nn.Linear(2 * width, CHARACTERS)

    def forward(self, spectrum: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """`(ceil(T/2), B, CHARACTERS)`, as CTC wants it, and its lengths, from `(B, T, BANDS)`."""
        frames = functional.gelu(self.front(spectrum.transpose(1, 2))).permute(2, 0, 1)
        halved = (lengths + 1) // 2
        output, _ = pad_packed_sequence(self.gru(pack_padded_sequence(frames, halved, enforce_sorted=False))[0])
        return self.head(output).log_softmax(dim=-1), halved


class LanguageModel(nn.Module):
    """The next word: an LSTM projected to the width of the embedding, whose weights are the head's too."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, width)
        self.lstm = nn.LSTM(width, 2 * width, num_layers=2, proj_size=width, batch_first=True)
        self.head = nn.Linear(width, WORDS)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits `(B, T, WORDS)` and the next state, `(2, B, width)` and `(2, B, 2·width)`."""
        output, after = self.lstm(self.embedding(tokens), state)
        return self.head(output), after


class Denoiser(nn.Module):
    """A gain for each band of a noisy spectrum, which streams when its states are lifted (`stateful`)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.entry = nn.Linear(BANDS, width)
        self.gru = nn.GRU(width, width, num_layers=2, batch_first=True)
        self.gain = nn.Linear(width, BANDS)

    def forward(self, spectrum: Tensor) -> Tensor:
        """The cleaned spectrum `(B, T, BANDS)`."""
        features = torch.tanh(self.entry(torch.log1p(spectrum.abs())))
        return spectrum * torch.sigmoid(self.gain(self.gru(features)[0]))


class WeightNormed(nn.Module):
    """A forecaster of the next values whose LSTM has normalized weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(BANDS, width, batch_first=True)
        for name in ("weight_ih_l0", "weight_hh_l0"):
            parametrizations.weight_norm(self.lstm, name)
        self.head = nn.Linear(width, BANDS)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, BANDS)` after the sequence `(B, T, BANDS)`."""
        forecast: Tensor = x[:, -1] + self.head(self.lstm(x)[0][:, -1])
        return forecast


class SpellingTagger(nn.Module):
    """A tag for each word by its spelling: an LSTM over the characters of all words, another over the words."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(CHARACTERS, width)
        self.speller = nn.LSTM(width, width, batch_first=True, bidirectional=True)
        self.reader = nn.LSTM(2 * width, width, batch_first=True)
        self.head = nn.Linear(width, TAGS)

    def forward(self, characters: Tensor) -> Tensor:
        """Logits `(B, T, TAGS)` of `(B, T, C)`."""
        batch, time, _ = characters.shape
        _, (hn, _) = self.speller(self.embedding(characters.flatten(0, 1)))
        words = torch.cat([hn[0], hn[1]], dim=-1).view(batch, time, -1)
        logits: Tensor = self.head(self.reader(words)[0])
        return logits
