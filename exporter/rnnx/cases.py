"""Seeded, named inputs on which backends are compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime.contract import Contract

Array = NDArray[Any]

MATRIX = ((1, 1), (1, 3), (2, 2), (5, 3), (7, 1), (20, 5))
"""(T, B) of every case: 1, 2 and odd sizes of both, none of them special to any export."""

GOLDEN_MATRIX = ((1, 1), (2, 2), (7, 3))
"""(T, B) of a golden file's cases: fewer, for they are computed in NumPy at every export."""

_ZERO_STATE_SIZES = (5, 3)


@dataclass(frozen=True, kw_only=True)
class Case:
    """Inputs by the contract's names; `name` says the sizes, such as `T5 B3`."""

    name: str
    feeds: Mapping[str, Array]

    @property
    def starts_from_zeros(self) -> bool:
        """Whether every initial state is zero, so that a caller would leave the state out."""
        return not any(self.feeds[name].any() for name in ("h0", "c0") if name in self.feeds)


def cases(contract: Contract, matrix: Sequence[tuple[int, int]] = MATRIX, seed: int = 0) -> list[Case]:
    """The comparison's cases: non-zero initial states, one case of zero states, lengths where the model takes them.

    A cell's time is fixed by its form, so of the matrix it takes the batches.
    """
    batches = sorted({batch for _, batch in matrix})
    sizes = matrix if contract.form == "encoder" else [(contract.steps or 1, batch) for batch in batches]
    found = [case_at(contract, time, batch, seed) for time, batch in sizes]
    return [*found, _zero_state_case(contract, seed)] if contract.state_inputs else found


def case_at(contract: Contract, time: int, batch: int, seed: int = 0) -> Case:
    """The case of one (T, B), named by the sizes that are free in the model's form."""
    name = f"T{time} B{batch}" if contract.form == "encoder" else f"B{batch}"
    return Case(name=name, feeds=random_feeds(contract, time, batch, seed))


def sizes_of(contract: Contract, feeds: Mapping[str, Array]) -> dict[str, int]:
    """The size of each symbolic dim of `x`: B, and T of an encoder."""
    spec = contract.inputs[0]
    pairs = zip(spec.dims, feeds[spec.name].shape, strict=True)
    return {dim: size for dim, size in pairs if isinstance(dim, str)}


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


def _zero_state_case(contract: Contract, seed: int) -> Case:
    time, batch = _ZERO_STATE_SIZES
    case = case_at(contract, contract.steps or (1 if contract.form == "step" else time), batch, seed)
    zeros = {name: np.zeros_like(case.feeds[name]) for name in ("h0", "c0") if name in case.feeds}
    return Case(name=f"{case.name} zero state", feeds={**case.feeds, **zeros})
