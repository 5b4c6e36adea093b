"""A whole model held against its own values at several sizes, and what its contract has to leave out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rnnx.graphs.value_checks import ValuesDifferError
from rnnx.tracing.eager import EagerModel
from rnnx.tracing.sizes.guarded_sizes import GuardedSizes, Sizes, with_ranges
from rnnx.truths.cases import Case
from rnnx.truths.model_cases import EXAMPLE, CaseSource, drawn_case, drawn_cases, model_sizes, sizes_name
from rnnx.truths.model_golden import ModelTruth, model_truth
from rnnx.truths.truth import CaseTruth
from rnnx_runtime.arrays.dim_sizes import sizes_from_feeds
from rnnx_runtime.contract import Contract, Dim
from rnnx_runtime.dim_expressions import size_of, symbols_of


@dataclass(frozen=True, kw_only=True)
class SizeProof:
    """What a whole model's values are held against: the model itself, its example, and the guards of its trace.

    `times` are the dims of time of its layers by name, `rolled` those of its loops that were rolled.
    """

    eager: EagerModel
    example: Mapping[str, Any]
    guarded: GuardedSizes
    times: Mapping[str, Dim]
    rolled: frozenset[Dim] = frozenset()

    def truth(self, contract: Contract) -> ModelTruth:
        """The model's truth at the sizes that every model is tried at, and at those that its guards ask for.

        Where PyTorch gives no truth at some of them, as for a standard deviation of one value, guards that fail at none
        of the others ask for more.
        """
        found = self._truth(contract, ())
        proved = [sizes_from_feeds(contract.inputs, entry.case.feeds) for entry in found.entries]
        lost = [sizes for sizes in self._sizes(contract) if sizes not in proved]
        more = self.guarded.nearest(proved, lost, contract.ranges) if lost else []
        return self._truth(contract, more) if more else found

    def far_entries(self, contract: Contract) -> tuple[CaseTruth, ...]:
        """Cases in which rolled loops are long: no part of the golden truth, for roundings add up over the steps."""

        def draw(source: CaseSource, seed: int) -> Iterator[Case]:
            far = {symbol: _far_size(str(dim), symbol) for dim in self.rolled for symbol in symbols_of(dim)}
            for symbol in sorted(far.keys() & source.sizes.keys()):
                yield drawn_case(source, {**source.sizes, symbol: far[symbol]}, seed)

        found = model_truth(self.eager, contract, self.example, draw) if self.rolled else None
        return tuple(_coarse(own) for own in found.entries if own.case.name != EXAMPLE) if found else ()

    def without_refused(self, contract: Contract, truth: ModelTruth) -> Contract:
        """The contract without the sizes that PyTorch refuses, as far as they make a range.

        So of those at which it gives other shapes than the contract says, such as `x[:, :20]` of fewer than 20.
        """
        names = {sizes_name(sizes): sizes for sizes in self._sizes(contract)}
        refused = [names[own.split(":")[0]] for own in truth.left_out if _REFUSED in own and own.split(":")[0] in names]
        taken = list[Sizes]()
        for entry in truth.entries:
            sizes = sizes_from_feeds(contract.inputs, entry.case.feeds)
            (taken if _has_shapes(entry, contract, sizes) else refused).append(dict(sizes))
        ranges = self.guarded.ranges_of_refusals(refused, taken)
        return with_ranges(contract, ranges) if ranges else contract

    def narrowed(self, contract: Contract, truth: ModelTruth, error: ValuesDifferError) -> Contract:
        """The contract without the sizes at which a guard makes the graph another model.

        Raises:
            FrozenDimError: those sizes make no range.
            ValuesDifferError: no guard explains them: the error itself.
        """
        sizes = {entry.case.name: sizes_from_feeds(contract.inputs, entry.case.feeds) for entry in truth.entries}
        failed, passed = ([sizes[name] for name in names] for names in (sorted(error.failed), sorted(error.passed)))
        found = None if EXAMPLE in error.failed else self.guarded.narrowed(contract, failed, passed)
        if found is None or found == contract:
            raise error
        return found

    def _sizes(self, contract: Contract) -> list[dict[str, int]]:
        source = CaseSource(contract=contract, example=self.example)
        usual = model_sizes(source)
        further = self.guarded.further([source.sizes, *usual], contract.ranges)
        return [*usual, *(sizes for sizes in further if sizes not in usual)]

    def _truth(self, contract: Contract, more: Sequence[Sizes]) -> ModelTruth:
        def drawn(source: CaseSource, seed: int) -> Iterator[Case]:
            yield from drawn_cases(source, seed)
            for sizes in (*self._sizes(source.contract)[len(model_sizes(source)) :], *more):
                yield drawn_case(source, sizes, seed)

        return _with_all_axes(model_truth(self.eager, contract, self.example, drawn), contract)


_REFUSED = "PyTorch raises"


def _far_size(steps: str, symbol: str) -> int:
    """A size that makes a loop long whose number of steps is made of it."""
    tried = range(_FAR, _FARTHEST)
    return next((size for size in tried if (size_of(steps, {symbol: size}) or 0) >= _FAR), _FARTHEST)


_FAR, _FARTHEST = 70, 300
"""A loop's length far from those of its traces, for `min(50, T)` is T in all of these, and `T // 4` one number."""

_COARSE = 1e-3


def _has_shapes(entry: CaseTruth, contract: Contract, sizes: Sizes) -> bool:
    """Whether the outputs have the sizes that the contract says, of dims that its inputs tell."""
    return all(
        size_of(dim, sizes) in (None, size)
        for spec in contract.outputs
        for dim, size in zip(spec.dims, entry.truth[spec.name].shape, strict=True)
    )


def _coarse(entry: CaseTruth) -> CaseTruth:
    """The case for a look at what is computed, not at how exactly."""
    errors = {
        name: max(error, _COARSE * float(np.abs(entry.truth[name]).max(initial=1.0)))
        for name, error in entry.float32_error.items()
    }
    return replace(entry, float32_error=errors)


def _with_all_axes(truth: ModelTruth, contract: Contract) -> ModelTruth:
    """The cases in which PyTorch gave every axis that the graph has: a `squeeze` drops one of size 1, as noted."""
    found, left_out = list[CaseTruth](), list(truth.left_out)
    for own in truth.entries:
        dropped = [spec.name for spec in contract.outputs if own.truth[spec.name].ndim != len(spec.dims)]
        if dropped:
            left_out.append(f"{own.case.name}: PyTorch drops an axis of size 1 of output {dropped[0]}")
        else:
            found.append(own)
    return ModelTruth(entries=tuple(found), left_out=tuple(left_out))
