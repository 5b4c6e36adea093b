"""The named matrices of cases that `rnnx verify --matrix` chooses from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rnnx.errors import OptionError
from rnnx.truths.cases import Case, case_at, distinct_sizes, random_feeds, size_name, zero_state_case
from rnnx.truths.matrix_names import MATRIX_NAMES, MatrixName
from rnnx_runtime.contract import Recurrence


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """(T, B) of the cases, and the seeds that each is drawn with."""

    sizes: tuple[tuple[int, int], ...]
    seeds: tuple[int, ...] = (0,)


_QUICK = ((1, 1), (1, 3), (2, 2), (5, 3), (7, 1), (20, 5))
_FULL = (*_QUICK, (1, 2), (2, 1), (2, 3), (3, 2), (1, 64), (7, 64), (20, 1), (33, 2), (500, 1), (500, 2))

MATRICES: dict[MatrixName, Matrix] = {
    "quick": Matrix(sizes=_QUICK),
    "full": Matrix(sizes=_FULL),
    "soak": Matrix(sizes=(*_FULL, (2000, 2), (100, 64)), seeds=(0, 1, 2, 3)),
}
"""Quick: 1, 2 and odd sizes of both. Full: pairs of them, a large batch, a long time. Soak: longer, with four seeds."""

SMALL, LARGE = 1e-3, 30.0
"""Deviations of `x` that leave every gate near its middle, and that saturate most."""

_STRESS_SIZES = (7, 4)


def matrix_cases(contract: Recurrence, name: MatrixName, sizes: Sequence[tuple[int, int]] = ()) -> list[Case]:
    """A matrix's cases, each (T, B) of `sizes` (a profile's corners, an export's own) added to it.

    Every size has non-zero initial states; there are a case of zero states where the model takes states, inputs small
    and so large that gates saturate, and equal and strictly increasing lengths where the model takes lengths.

    Raises:
        OptionError: there is no matrix of that name.
    """
    if name not in MATRICES:
        raise OptionError("matrix", got=repr(name), expected=" | ".join(MATRIX_NAMES), remedy="choose one of these")
    return list(_cases(contract, MATRICES[name], sizes))


def _cases(contract: Recurrence, matrix: Matrix, sizes: Sequence[tuple[int, int]]) -> Iterator[Case]:
    for seed in matrix.seeds:
        mark = f" seed {seed}" if seed else ""
        own = [case_at(contract, *pair, seed) for pair in distinct_sizes(contract, [*matrix.sizes, *sizes])]
        own += [zero_state_case(contract, seed)] if contract.state_inputs else []
        for case in (*own, *_stress_cases(contract, seed)):
            yield Case(name=case.name + mark, feeds=case.feeds)


def _stress_cases(contract: Recurrence, seed: int) -> Iterator[Case]:
    time, batch = distinct_sizes(contract, [_STRESS_SIZES])[0]
    name = size_name(contract, time, batch)
    for word, scale in (("small", SMALL), ("large", LARGE)):
        yield Case(name=f"{name} {word} inputs", feeds=random_feeds(contract, time, batch, seed, scale=scale))
    if contract.lengths:
        yield Case(name=f"{name} equal lengths", feeds=random_feeds(contract, time, batch, seed, lengths="equal"))
        feeds = random_feeds(contract, time, batch, seed, lengths="increasing")
        yield Case(name=f"{name} increasing lengths", feeds=feeds)
