"""Phoneme and word error rate of greedy pronunciations."""

from collections.abc import Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from g2p.batches import words_by_length
from g2p.dictionary import Entry
from g2p.network import Speller


@dataclass(frozen=True, kw_only=True)
class Score:
    """Error rates in percent over `words` words.

    A word with several listed pronunciations counts against the nearest one, as is usual for this dictionary: `per` is
    the edit distance to the nearest reference over that reference's length, summed over words; `wer` is the share of
    words that equal none of their references.
    """

    words: int
    per: float
    wer: float


def score(network: Speller, entries: Sequence[Entry], batch_size: int = 256) -> Score:
    """Score the network's greedy pronunciations of the entries."""
    network.eval()
    edits = phonemes = wrong = 0
    for group, letters in words_by_length(entries, batch_size):
        for entry, spoken in zip(group, network.pronounce(letters), strict=True):
            distance, length = min((Levenshtein.distance(spoken, r), len(r)) for r in entry.pronunciations)
            edits += distance
            phonemes += length
            wrong += distance > 0
    return Score(words=len(entries), per=100 * edits / phonemes, wer=100 * wrong / len(entries))
