"""Words to phonemes with an exported model: `rnnx_runtime` and NumPy, no torch."""

from collections.abc import Sequence

import numpy as np

from g2p.dictionary import LETTERS
from rnnx_runtime.errors import InputError
from rnnx_runtime.seq2seq.pair import Seq2Seq

BATCH = 256
"""Words that are decoded together."""

_INDEX = {letter: index for index, letter in enumerate(LETTERS) if index}


def pronounced(model: Seq2Seq, words: Sequence[str], batch: int = BATCH) -> list[tuple[int, ...]]:
    """The phonemes of each word, as indices into `PHONEMES`; words of like length are decoded together.

    Raises:
        InputError: a word is empty or has another character than a letter or an apostrophe.
    """
    order = sorted(range(len(words)), key=lambda index: len(words[index]))
    spoken: dict[int, tuple[int, ...]] = {}
    for start in range(0, len(words), batch):
        group = order[start : start + batch]
        letters, lengths = _letters([words[index] for index in group])
        rows = model.generate({"letters": letters, "lengths": lengths})
        spoken.update(zip(group, map(tuple, rows), strict=True))
    return [spoken[index] for index in range(len(words))]


def _letters(words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Letters `(T, B)` int64, padded with 0, and lengths `(B,)` int64."""
    lengths = np.array([len(word) for word in words])
    letters = np.zeros((lengths.max(), len(words)), np.int64)
    for column, word in enumerate(words):
        letters[: len(word), column] = _indices(word)
    return letters, lengths


def _indices(word: str) -> list[int]:
    if not word or any(letter not in _INDEX for letter in word):
        raise InputError(
            "word", got=repr(word), expected="letters from a to z and apostrophes", remedy="write it in lower case"
        )
    return [_INDEX[letter] for letter in word]
