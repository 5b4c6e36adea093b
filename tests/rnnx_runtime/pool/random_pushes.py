"""Random pushes into 64 streams of a pool, each result held against a lone session's."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rnnx_runtime import PoolOptions, StreamPool, load

STREAMS, TURNS, LONGEST = 64, 4, 3

Frames = Callable[[int, int, int], Any]
"""What stream `index` pushes: `frames(index, time, seed)` is one frame where `time` is 1, else that many."""


@dataclass
class Agreement:
    """How many arrays of results there were, how many of them equal bit for bit, and the largest difference."""

    results: int = 0
    bitwise: int = 0
    largest: float = 0.0


def push_at_random(path: Path, frames: Frames, seed: int) -> Agreement:
    """One schedule: in each turn some of the streams push, in any order, one to three frames each."""
    chance = np.random.default_rng(seed)
    agreement = Agreement()
    with (
        load(path, "ort-cpu") as alone,
        StreamPool(load(path, "ort-cpu"), PoolOptions(max_batch=16)) as pool,
    ):
        streams = [(pool.open(), alone.stream()) for _ in range(STREAMS)]
        waiting = []
        for turn in range(TURNS):
            for index in chance.permutation(STREAMS)[: chance.integers(8, STREAMS + 1)]:
                stream, lone = streams[index]
                x = frames(int(index), int(chance.integers(1, LONGEST + 1)), int(1000 * seed + 100 * turn + index))
                waiting.append((stream.submit(x), lone, x))
        for push, lone, x in waiting:
            found, expected = by_name(push.result()), by_name(lone.push(x))
            assert found.keys() == expected.keys()
            for key, value in expected.items():
                _compare(found[key], value, agreement)
    return agreement


def by_name(result: Any) -> dict[str, Any]:
    """A push's outputs by name; the only output of a model has the name ''."""
    return result if isinstance(result, dict) else {"": result}


def _compare(found: Any, expected: Any, agreement: Agreement) -> None:
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    agreement.results += 1
    agreement.bitwise += found.tobytes() == expected.tobytes()
    agreement.largest = max(agreement.largest, float(np.abs(found.astype(np.float64) - expected).max(initial=0)))
