"""Seeded faults in a file: flipped bits, truncations and splices, anywhere and aimed at what a reader relies on."""

import random
import re
from collections.abc import Callable, Iterator, Sequence

_TARGETS = re.compile(
    rb'"[a-z0-9_]+":'  # a key of JSON text
    rb"|[0-9a-f]{64}"  # a digest
    rb"|PK[\x01-\x08][\x01-\x08]|\x93NUMPY"  # the parts of an .npz
    rb"|RNNXSNAP|ftrt"  # the starts of a snapshot and a plan
    rb"|model\.onnx\.data|raw_data|location|offset|length"
)
_EDGE = 24
"""Bytes at each end that hold a format's magic, lengths or digest."""


def faults(data: bytes, others: Sequence[bytes], seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """`count` damaged copies of `data`, each with what was done to it; `others` lend bytes for splices."""
    chance = random.Random(seed)
    aims = _aims(data)
    makers: list[Callable[[], tuple[str, bytes]]] = [
        lambda: _flipped(data, chance, [chance.randrange(len(data)) for _ in range(chance.randint(1, 8))]),
        lambda: _flipped(data, chance, [_near(chance.choice(aims), data, chance) for _ in range(chance.randint(1, 3))]),
        lambda: _truncated(data, chance.randrange(len(data))),
        lambda: _truncated(data, _near(chance.choice(aims), data, chance)),
        lambda: _spliced(data, _run_of(chance.choice([data, *others]), chance), chance),
        lambda: _spliced(data, bytes(chance.randint(1, 512)), chance),
        lambda: _repeated(data, chance),
        lambda: _cut_out(data, chance),
        lambda: ("appended", data + _run_of(chance.choice([data, *others, chance.randbytes(64), bytes(9)]), chance)),
        lambda: ("prepended", _run_of(chance.choice([data, *others]), chance) + data),
    ]
    for number in range(count):
        yield makers[number % len(makers)]()


def _aims(data: bytes) -> list[int]:
    """Where headers, lengths, keys, digests and the file's own ends are."""
    found = [place for match in _TARGETS.finditer(data) for place in (match.start(), match.end())]
    return [0, len(data) - 1, *found]


def _near(place: int, data: bytes, chance: random.Random) -> int:
    return min(max(place + chance.randint(-_EDGE, _EDGE), 0), len(data) - 1)


def _flipped(data: bytes, chance: random.Random, places: list[int]) -> tuple[str, bytes]:
    damaged = bytearray(data)
    for place in places:
        damaged[place] ^= 1 << chance.randrange(8)
    return f"bits flipped at {places}", bytes(damaged)


def _truncated(data: bytes, size: int) -> tuple[str, bytes]:
    return f"truncated to {size} of {len(data)}", data[:size]


def _run_of(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data))
    return data[start : start + chance.randint(1, 512)]


def _spliced(data: bytes, run: bytes, chance: random.Random) -> tuple[str, bytes]:
    """The run written over as many bytes, or put in between."""
    place, replaced = chance.randrange(len(data)), chance.choice([0, len(run)])
    return f"{len(run)} bytes in place of {replaced} at {place}", data[:place] + run + data[place + replaced :]


def _repeated(data: bytes, chance: random.Random) -> tuple[str, bytes]:
    start = chance.randrange(len(data))
    stop = min(len(data), start + chance.randint(1, 512))
    return f"{start}..{stop} repeated", data[:stop] + data[start:]


def _cut_out(data: bytes, chance: random.Random) -> tuple[str, bytes]:
    start = chance.randrange(len(data))
    stop = min(len(data), start + chance.randint(1, 512))
    return f"{start}..{stop} cut out", data[:start] + data[stop:]
