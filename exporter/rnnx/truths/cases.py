"""Seeded, named inputs on which backends are compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rnnx_runtime.array_type import Array
from rnnx_runtime.arrays.dim_sizes import shape_from_sizes, sizes_from_feeds
from rnnx_runtime.contract import Recurrence

Lengths = Literal["random", "equal", "increasing", "short"]

GOLDEN_MATRIX = ((1, 1), (2, 2), (7, 3))
"""(T, B) of a golden file's cases: few, for they are computed in NumPy at every export."""

_ZERO_STATE_SIZES = (5, 3)


@dataclass(frozen=True, kw_only=True)
class Case:
    """Inputs by the contract's names; `name` says the sizes, such as `T5 B3`."""

    name: str
    feeds: Mapping[str, Array]


def cases(contract: Recurrence, sizes: Sequence[tuple[int, int]] = GOLDEN_MATRIX, seed: int = 0) -> list[Case]:
    """One case for each (T, B), with non-zero initial states, and one of zero states where the model takes states.

    A cell's time is fixed by its form, so of the sizes it takes the batches.
    """
    found = [case_at(contract, time, batch, seed) for time, batch in distinct_sizes(contract, sizes)]
    return [*found, zero_state_case(contract, seed)] if contract.state_inputs else found


def distinct_sizes(contract: Recurrence, sizes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The sizes that differ in what the model leaves free: (T, B) of an encoder, the batches of a cell."""
    if contract.form == "encoder":
        return list(dict.fromkeys(sizes))
    return [(contract.steps or 1, batch) for batch in sorted({batch for _, batch in sizes})]


def case_at(contract: Recurrence, time: int, batch: int, seed: int = 0) -> Case:
    """The case of one (T, B), named by the sizes that are free in the model's form."""
    return Case(name=size_name(contract, time, batch), feeds=random_feeds(contract, time, batch, seed))


def zero_state_case(contract: Recurrence, seed: int = 0) -> Case:
    """A case whose initial states are zeros, as a caller gets who gives none."""
    time, batch = distinct_sizes(contract, [_ZERO_STATE_SIZES])[0]
    case = case_at(contract, time, batch, seed)
    zeros = {name: np.zeros_like(case.feeds[name]) for name in ("h0", "c0") if name in case.feeds}
    return Case(name=f"{case.name} zero state", feeds={**case.feeds, **zeros})


def size_name(contract: Recurrence, time: int, batch: int) -> str:
    """`T5 B3` of an encoder, `B3` of a cell."""
    return f"T{time} B{batch}" if contract.form == "encoder" else f"B{batch}"


def time_of(contract: Recurrence, feeds: Mapping[str, Array]) -> int:
    """The time steps of inputs: T of an encoder, N of an unrolled decoder, 1 of a step."""
    given = [spec for spec in contract.inputs if spec.name in feeds]
    return sizes_from_feeds(given, feeds).get("T", contract.steps or 1)


def random_feeds(
    contract: Recurrence,
    time: int,
    batch: int,
    seed: int | Sequence[int],
    *,
    scale: float = 1.0,
    lengths: Lengths = "random",
) -> dict[str, Array]:
    """Inputs for one (T, B): `x` normal with deviation `scale`, states uniform in ±1, lengths as said.

    Random lengths lie from 1 to T with one row at T; equal ones are all T, one less where T allows; increasing ones
    rise by row to T, strictly where T allows; short ones lie from 1 to T - 2, so that every row has padding.
    """
    chance = np.random.default_rng([*np.atleast_1d(seed), time, batch])
    sizes = {"T": time, "B": batch}
    feeds: dict[str, Array] = {}
    for spec in contract.inputs:
        shape = shape_from_sizes(spec, sizes)
        if spec.name == "lengths":
            feeds[spec.name] = lengths_of(chance, time, batch, lengths)
        elif spec.name == "x":
            feeds[spec.name] = chance.standard_normal(shape, np.float32) * np.float32(scale)
        else:
            feeds[spec.name] = chance.uniform(-1, 1, shape).astype(np.float32)
    return feeds


def lengths_of(chance: np.random.Generator, time: int, batch: int, kind: Lengths) -> Array:
    """A length for each row: random ones lie from 1 to T, one of them T; short ones all lie below T, where T allows."""
    if kind == "equal":
        return np.full(batch, max(1, time - 1), np.int32)
    if kind == "increasing":
        return np.maximum(1, np.arange(time - batch + 1, time + 1, dtype=np.int32))
    longest = max(1, time - 2) if kind == "short" else time
    found = chance.integers(1, longest, batch, dtype=np.int32, endpoint=True)
    found[chance.integers(batch)] = longest
    return found
