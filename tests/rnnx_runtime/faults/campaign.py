"""Many faults in each of several specimens, counted."""

import itertools
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.rnnx_runtime.faults.corruption import faults
from tests.rnnx_runtime.faults.specimens import Specimen, read, write
from tests.rnnx_runtime.faults.trial import Outcome, attempt


def outcomes(specimens: Sequence[Specimen], folder: Path, seed: int, count: int) -> Iterator[Outcome]:
    """Damage and read `count` files, spread evenly over the specimens."""
    tracemalloc.start()
    try:
        for number, specimen in enumerate(specimens):
            share = count // len(specimens) + (number < count % len(specimens))
            yield from _of_one(specimen, specimens, folder / f"{number}", seed + number, share)
    finally:
        tracemalloc.stop()


def _of_one(
    specimen: Specimen, specimens: Sequence[Specimen], folder: Path, seed: int, count: int
) -> Iterator[Outcome]:
    folder.mkdir()
    write(specimen, folder)
    sound = read(specimen, folder)
    others = [other.data for other in specimens if other is not specimen]
    for fault, data in faults(specimen.data, others, seed, count):
        yield attempt(specimen, fault, data, folder, sound)


def counted(results: Sequence[Outcome]) -> dict[str, Counter[str]]:
    """How many of each kind came to which end: an error's class, `unchanged` or `failed`."""
    by_kind = itertools.groupby(results, key=lambda outcome: outcome.kind)
    return {
        kind: Counter("failed" if o.failure else o.refused or "unchanged" for o in group) for kind, group in by_kind
    }
