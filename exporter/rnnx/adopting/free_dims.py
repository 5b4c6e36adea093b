"""Which of a foreign file's dims are free, found by running it at other sizes than its example's."""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from rnnx.adopting.example_search import FoundExample, are_as_declared, depends_on_inputs, is_sound
from rnnx.adopting.foreign_runs import ForeignRuns
from rnnx.adopting.trial_values import TrialValues
from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Contract, Dim, SizeRange, TensorSpec
from rnnx_runtime.errors import BackendError

_FURTHER = (1, 2, 3, 5)
"""How much larger than the example's the sizes are that a free dim must take."""

_LARGE = {"B": 9}
_LARGEST_TRIED = 131

_Takes = Callable[[tuple[tuple[str, int], ...]], bool]
"""Whether the file takes sizes, as pairs of a dim and its size."""


@dataclass(frozen=True, kw_only=True)
class SettledDims:
    """The contract with its inputs' dims as they are, the example's sizes of those, and what to know of the others."""

    contract: Contract
    sizes: Mapping[str, int]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SizeTrials:
    """Runs at sizes near the example's; they count where results are whole, of the same ranks, and fit the states."""

    runs: ForeignRuns
    contract: Contract
    values: TrialValues
    example: FoundExample
    fits: Callable[[Mapping[str, Array]], bool] = lambda feeds: True

    def takes(self, sizes: Mapping[str, int]) -> bool:
        """Whether the file gives results there, that a state could be carried on from."""
        at = {**self.example.sizes, **sizes}
        feeds = self.values.feeds(self.contract, at)
        if not self.fits(feeds):
            return False
        try:
            found = self.runs.outputs(feeds)
            if not depends_on_inputs(self.runs, self.contract, feeds, self.values.feeds(self.contract, at, 1), found):
                return False
        except BackendError:
            return False
        first = self.example.outputs
        if are_as_declared(self.contract, self.example.sizes, first) and not are_as_declared(self.contract, at, found):
            return False
        return all(is_sound(value) and value.ndim == first[name].ndim for name, value in found.items()) and all(
            found[pair.output].shape == feeds[pair.input].shape for pair in self.contract.states
        )


def settled_dims(trials: SizeTrials) -> SettledDims:
    """Fix the dims that take one size, join those that must be equal, and find the ends of the others."""
    contract, sizes = trials.contract, dict(trials.example.sizes)
    takes = functools.cache(lambda own: trials.takes(dict(own)))
    groups = list(_groups(contract.free_dims, sizes, lambda own: takes(tuple(sorted(own.items())))))
    dims: dict[str, Dim] = {}
    ranges: dict[str, SizeRange] = {}
    notes: list[str] = []
    for group, is_free in groups:
        name = next((own for own in ("B", "T") if own in group), group[0])
        dims |= dict.fromkeys(group, name if is_free else sizes[name])
        if len(group) > 1:
            notes.append(f"the dims {', '.join(group)} must be equal: all are {name}")
        if is_free:
            at_sizes = functools.partial(_takes_all, takes, group)
            own = _range_of(name, sizes[name], at_sizes)
            ranges |= {name: own} if own != SizeRange() else {}
        else:
            place = next(spec for spec in contract.inputs if name in spec.dims)
            notes.append(f"{name} of {place.name} is {sizes[name]}: the file takes no other size that was tried")
    inputs = tuple(_with_dims(spec, dims) for spec in contract.inputs)
    free = {symbol: sizes[symbol] for symbol, own in dims.items() if own == symbol}
    return SettledDims(contract=replace(contract, inputs=inputs, ranges=ranges), sizes=free, notes=tuple(notes))


def _takes_all(takes: _Takes, group: Iterable[str], size: int) -> bool:
    return takes(tuple((dim, size) for dim in sorted(group)))


def _groups(
    symbols: Iterable[str], sizes: Mapping[str, int], takes: Callable[[Mapping[str, int]], bool]
) -> Iterator[tuple[tuple[str, ...], bool]]:
    """The dims that go together, and whether they are free."""
    left = list(symbols)
    while left:
        symbol = left.pop(0)
        if _is_free((symbol,), sizes, takes):
            yield (symbol,), True
            continue
        equal = [other for other in left if sizes[other] == sizes[symbol]]
        partner = next((other for other in equal if _is_free((symbol, other), sizes, takes)), None)
        together: tuple[str, ...] = (symbol, partner) if partner else (symbol,)
        if partner is None and len(equal) > 1 and _is_free((symbol, *equal), sizes, takes):
            together = (symbol, *equal)
        left = [other for other in left if other not in together]
        yield together, len(together) > 1


def _is_free(group: tuple[str, ...], sizes: Mapping[str, int], takes: Callable[[Mapping[str, int]], bool]) -> bool:
    """Whether the file takes several larger sizes of dims, all equal; a smaller one of a batch, too."""
    tried = [sizes[group[0]] + more for more in _FURTHER]
    return all(takes(dict.fromkeys(group, size)) for size in tried)


def _range_of(name: str, size: int, takes: Callable[[int], bool]) -> SizeRange:
    """From the least to the largest size that works, as far as was tried; in between all are taken to."""
    least = 1 if takes(1) else _border(1, size, takes)
    large = _LARGE.get(name, max(_LARGEST_TRIED, 3 * size + 1))
    most = None if takes(large) else _border(large, size + _FURTHER[-1], takes)
    return SizeRange(min=least, max=most)


def _border(refused: int, taken: int, takes: Callable[[int], bool]) -> int:
    """The last size that works on the way from one that does to one that does not."""
    while abs(refused - taken) > 1:
        middle = (refused + taken) // 2
        if takes(middle):
            taken = middle
        else:
            refused = middle
    return taken


def _with_dims(spec: TensorSpec, dims: Mapping[str, Dim]) -> TensorSpec:
    return replace(spec, dims=tuple(dims.get(dim, dim) if isinstance(dim, str) else dim for dim in spec.dims))


def renamed_dim(contract: Contract, dim: str, name: str) -> Contract:
    """The contract with a free dim under another name; outputs' sizes that are calculated from it stay as they are."""
    inputs = tuple(_with_dims(spec, {dim: name}) for spec in contract.inputs)
    outputs = tuple(_with_dims(spec, {dim: name}) for spec in contract.outputs)
    ranges = {name if own == dim else own: sizes for own, sizes in contract.ranges.items()}
    return replace(contract, inputs=inputs, outputs=outputs, ranges=ranges)


def more_runs(trials: SizeTrials, contract: Contract, sizes: Mapping[str, int]) -> None:
    """Run at further sizes of every free dim, alone and together, so that the outputs' sizes can be told from them."""
    for number, symbol in enumerate(sizes):
        for more in (0, 1, 2, 3, 4, 5, 7, sizes[symbol] + 1, 2 * sizes[symbol] + 3):
            other = {dim: size + (number + more) % 2 for dim, size in sizes.items()}
            _try(trials, contract, {**other, symbol: sizes[symbol] + more})


def _try(trials: SizeTrials, contract: Contract, sizes: Mapping[str, int]) -> dict[str, Array]:
    try:
        return trials.runs.outputs(trials.values.feeds(contract, sizes))
    except BackendError:
        return {}
