"""Seeded, named inputs on which backends are compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime.contract import Contract

Array = NDArray[Any]

MATRIX = ((1, 1), (2, 2), (5, 3), (7, 1), (20, 5))
"""(T, B) of every case: 1, 2 and odd sizes of both, none of them special to any export."""

CELL_BATCHES = (1, 2, 3, 5)
"""B of every case for a step or an unrolled decoder, whose time is fixed."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """Inputs by the contract's names; `name` says the sizes, such as `T5 B3`."""

    name: str
    feeds: Mapping[str, Array]


def cases(contract: Contract, seed: int = 0) -> list[Case]:
    """The comparison's cases, each with a non-zero initial state and lengths where the model takes them."""

    if contract.form == "encoder":
        return [_case(contract, f"T{time} B{batch}", time, batch, seed) for time, batch in MATRIX]
    time = contract.steps or 1
    return [_case(contract, f"B{batch}", time, batch, seed) for batch in CELL_BATCHES]


def _case(contract: Contract, name: str, time: int, batch: int, seed: int) -> Case:
    return Case(name=name, feeds=random_feeds(contract, time, batch, seed))


def random_feeds(contract: Contract, time: int, batch: int, seed: int) -> dict[str, Array]:
    """Inputs for one (T, B): `x` standard normal, states uniform in ±1, lengths from 1 to T with one row at T."""
    chance = np.random.default_rng([seed, time, batch])
    sizes = {"T": time, "B": batch}
    feeds: dict[str, Array] = {}
    for spec in contract.inputs:
        shape = tuple(sizes[dim] if isinstance(dim, str) else dim for dim in spec.dims)
        if spec.name == "lengths":
            lengths = chance.integers(1, time, batch, dtype=np.int32, endpoint=True)
            lengths[chance.integers(batch)] = time
            feeds[spec.name] = lengths
        elif spec.name == "x":
            feeds[spec.name] = chance.standard_normal(shape, np.float32)
        else:
            feeds[spec.name] = chance.uniform(-1, 1, shape).astype(np.float32)
    return feeds
