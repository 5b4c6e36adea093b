"""Streams of pieces of recordings behind each other, as a watch gives on a wrist that changes what it does."""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from motions.recordings import Recording

Samples = NDArray[np.float32]
Labels = NDArray[np.int64]

SHORTEST, LONGEST = 30, 90
"""Samples of a piece: 3 to 9 s."""


def drawn_stream(recordings: Sequence[Recording], length: int, chance: Generator) -> tuple[Samples, Labels]:
    """Samples `(length, 6)` and the label `(length)` of each; pieces of recordings drawn at random."""
    samples, labels, total = [], [], 0
    while total < length:
        own = recordings[int(chance.integers(len(recordings)))]
        count = int(chance.integers(SHORTEST, LONGEST + 1))
        first = int(chance.integers(len(own.samples) - count + 1))
        samples.append(own.samples[first : first + count])
        labels.append(np.full(count, own.label))
        total += count
    return np.concatenate(samples)[:length], np.concatenate(labels)[:length]


def disturbed(samples: Samples, chance: Generator) -> Samples:
    """The samples of a watch that sits a little otherwise, on a wrist that moves more or less, with noise."""
    turn = _rotation(chance.normal(0, 0.2, 3))
    turned = np.concatenate([samples[:, :3] @ turn.T, samples[:, 3:] @ turn.T], 1)
    noise = chance.normal(0, 0.05, samples.shape)
    result: Samples = (turned * chance.uniform(0.8, 1.25) + noise * samples.std(0)).astype(np.float32)
    return result


def _rotation(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rotation about a vector by its length, in radians (Rodrigues' formula)."""
    angle = float(np.linalg.norm(vector))
    x, y, z = vector / max(angle, 1e-9)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    result: NDArray[np.float64] = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return result
