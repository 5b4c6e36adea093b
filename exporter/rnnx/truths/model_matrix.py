"""The named matrices of cases that a whole model is verified with where its module is there."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from rnnx.truths.case_matrix import Matrix
from rnnx.truths.cases import Case
from rnnx.truths.matrix_names import MatrixName
from rnnx.truths.model_cases import CaseSource, drawn_case, drawn_cases, fitting_sizes, model_sizes

_FULL = ((1, 3), (2, 1), (3, 2), (1, 64), (7, 64), (33, 2), (200, 1))

MATRICES: dict[MatrixName, Matrix] = {
    "quick": Matrix(sizes=()),
    "full": Matrix(sizes=_FULL),
    "soak": Matrix(sizes=(*_FULL, (1000, 2), (100, 64)), seeds=(0, 1, 2, 3)),
}
"""(T, B) besides those of a golden file: pairs, a large batch, a long time; then longer, with four seeds."""

_FRESH = 1000
"""Where the seeds begin: those of golden files are lower, so that no case is one of theirs."""


def fresh_cases(name: MatrixName, sizes: Sequence[Mapping[str, int]]) -> Callable[[CaseSource, int], Iterator[Case]]:
    """A matrix's cases, those of further `sizes` added, to draw for a source and to draw anew with another number."""

    def draw(source: CaseSource, number: int) -> Iterator[Case]:
        for mark in MATRICES[name].seeds:
            seed = _FRESH * (1 + mark) + number
            for case in (*drawn_cases(source, seed), *_further(source, name, sizes, seed)):
                yield Case(name=case.name + (f" seed {mark}" if mark else ""), feeds=case.feeds)

    return draw


def _further(source: CaseSource, name: MatrixName, sizes: Sequence[Mapping[str, int]], seed: int) -> Iterator[Case]:
    """The cases that are not drawn for every model; a model of fixed sizes has none."""
    own = source.sizes
    pairs = [dict(zip("TB", pair, strict=True)) for pair in MATRICES[name].sizes]
    wanted = [{dim: given.get(dim, size) for dim, size in own.items()} for given in (*pairs, *sizes)]
    seen = {tuple(found.items()) for found in model_sizes(source)}
    for found in dict.fromkeys(tuple(fitting_sizes(source, own).items()) for own in wanted):
        if found not in seen:
            yield drawn_case(source, dict(found), seed)
