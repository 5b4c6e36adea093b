"""Phoneme and word error rate of pronunciations, wherever they come from; needs no torch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from g2p.dictionary import Entry


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


def error_rates(pronounced: Iterable[tuple[Entry, Sequence[int]]]) -> Score:
    """The score of each entry's pronunciation, indices into `PHONEMES`."""
    words = edits = phonemes = wrong = 0
    for entry, spoken in pronounced:
        distance, length = min((Levenshtein.distance(spoken, r), len(r)) for r in entry.pronunciations)
        words += 1
        edits += distance
        phonemes += length
        wrong += distance > 0
    return Score(words=words, per=100 * edits / phonemes, wer=100 * wrong / words)
