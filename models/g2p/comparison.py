"""An exported model over all test words: is each pronounced as PyTorch does, how well, how fast; needs no torch."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from g2p.dictionary import Entry
from g2p.error_rates import Score, error_rates
from g2p.greedy import read_greedy
from g2p.pronouncing import pronounced
from rnnx_runtime.seq2seq.pair import Seq2Seq


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`different` are the words whose phonemes are not PyTorch's."""

    score: Score
    different: tuple[str, ...]
    words_per_s: float


def compare(model: Seq2Seq, folder: Path, words: Sequence[Entry]) -> Comparison:
    """Pronounce the words and compare them with `greedy.txt.gz` of a model's folder."""
    expected = read_greedy(folder)
    start = time.perf_counter()
    spoken = pronounced(model, [entry.word for entry in words])
    seconds = time.perf_counter() - start
    pairs = list(zip(words, spoken, strict=True))
    return Comparison(
        score=error_rates(pairs),
        different=tuple(entry.word for entry, row in pairs if row != expected[entry.word]),
        words_per_s=len(words) / seconds,
    )
