"""A time or batch length that is fixed in the graph: found as the only size at which the backend computes the truth."""

import itertools
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rnnx.diagnosis.observations import Observation
from rnnx.diagnosis.simulation import simulate
from rnnx.diagnosis.suspect import Suspect
from rnnx.parity.tolerances import products_per_sum, tolerance_for
from rnnx.truths.cases import random_feeds
from rnnx_runtime.arrays.dim_sizes import shape_from_sizes

_TRIED = range(1, 25)
"""Sizes that are tried when no message names one."""

_LONGEST_S = 1.5
"""Seconds after which a slow backend is tried at no more sizes; most answer at all of them in a fraction of one."""

_MOST_HINTS = 12

_LARGEST_HINT = 512


@dataclass(frozen=True, kw_only=True)
class Baked:
    """What is fixed, to which sizes, and what the backend said at another."""

    cause: Literal["baked-time", "baked-batch"]
    sizes: tuple[int, ...]
    other: int
    said: str

    @property
    def detail(self) -> str:
        """In words."""
        dim = "T" if self.cause == "baked-time" else "B"
        return f"it computes the truth at {dim}={_ranges(self.sizes)} only, not at {dim}={self.other}"


def baked_size(suspect: Suspect) -> Baked | None:
    """The fixed length, where there is one; a batch is tried only where no time explains the failures."""
    if not any(one.failure or one.problems for one in suspect.failing):
        return None
    end = time.perf_counter() + _LONGEST_S
    for one in suspect.failing[:3]:
        for cause, time_free in (("baked-time", True), ("baked-batch", False)):
            if time_free and suspect.contract.form != "encoder":
                continue
            right = _right_sizes(suspect, one, end, time_free=time_free)
            other = one.time if time_free else one.batch
            if right and other not in right:
                said = one.failure or "; ".join(f"{name}: {problem}" for name, problem in one.problems.items())
                return Baked(cause=cause, sizes=right, other=other, said=said)  # type: ignore[arg-type]
    return None


def _right_sizes(suspect: Suspect, one: Observation, end: float, *, time_free: bool) -> tuple[int, ...]:
    """The sizes of one dim at which the backend is right, the other dim being a failing case's."""
    own = one.time if time_free else one.batch
    hints = [int(number) for number in re.findall(r"(?<![\w.])\d{1,3}(?![\w.])", _message(one))]
    tried = dict.fromkeys([own, *(hint for hint in hints if 0 < hint <= _LARGEST_HINT)][:_MOST_HINTS] + list(_TRIED))
    in_time = itertools.takewhile(lambda _: time.perf_counter() < end, tried)
    pairs = ((size, one.batch) if time_free else (one.time, size) for size in in_time)
    return tuple(sorted(pair[0] if time_free else pair[1] for pair in pairs if is_right(suspect, *pair)))


def is_right(suspect: Suspect, steps: int, batch: int) -> bool:
    """Whether the backend gives the truth at a size; without weights, whether it gives results of the right shape."""
    contract = suspect.contract
    feeds = random_feeds(contract, steps, batch, 1)
    answer = suspect.prober.ask(feeds)
    if not answer:
        return False
    sizes = {"T": steps, "B": batch}
    if any(answer.values[spec.name].shape != shape_from_sizes(spec, sizes) for spec in suspect.prober.outputs):
        return False
    if suspect.stack is None:
        return True
    expected = simulate(suspect.stack, contract, feeds)
    tolerance = tolerance_for(suspect.row.precision)
    for name in [spec.name for spec in suspect.prober.outputs]:
        error = float(np.abs(answer.values[name] - expected[name]).max())
        # a float32 error is not known here, so the floor is given room
        if not error <= 8 * tolerance.floor(products_per_sum(contract), steps * contract.layers, 1.0):
            return False
    return True


def node_in_message(message: str) -> str:
    """The node that ONNX Runtime was running when it failed: `Reshape '/lstm/Reshape_3'`."""
    found = re.search(r"running (\w+) node\. Name:'([^']*)'", message)
    return f"{found[1]} {found[2]!r}" if found else ""


def _message(one: Observation) -> str:
    return " ".join([one.failure, *one.problems.values()])


def _ranges(sizes: Sequence[int]) -> str:
    """Sizes as text, neighbours together: `1–5, 9`."""
    return ", ".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in _runs(sizes))


def _runs(sizes: Iterable[int]) -> Iterator[list[int]]:
    run: list[int] = []
    for size in sizes:
        if run and size != run[-1] + 1:
            yield run
            run = []
        run.append(size)
    if run:
        yield run
