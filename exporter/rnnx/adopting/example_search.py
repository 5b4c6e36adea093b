"""An example that a foreign file takes: sizes for its free dims, found by trying."""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from rnnx.adopting.foreign_runs import ForeignRuns
from rnnx.adopting.trial_values import TrialValues
from rnnx.errors import AdoptionError
from rnnx.runners.row_channel import NO_ANSWER
from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Contract
from rnnx_runtime.errors import BackendError

_TIME = 12
_BATCHES = (2, 1)
_SMALL = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 25, 30, 32, 50, 60, 64, 100, 128)
"""Sizes of a batch and of a time that exporters bake in."""

_ORDINARY = 16
_LADDER = (
    16, 64, 512, 576, 256, 160, 320, 257, 480, 128, 80, 40, 400, 640, 768, 960, 1024, 1280, 1536, 1600, 2048, 4000,
    8000, 16000, 32000, 100, 7, 8, 32, 1, 2, 3, 4,
)  # fmt: skip
"""Sizes of frames and of chunks that models are made for, the likely ones first."""

_WARMING_CALLS = 3
"""Calls from zeros on until states are like those of a running stream."""

_MODERATE = 1024
"""A time up to which a call is quick."""

_MOST_SECONDS = 20.0
_MOST_AFTER = 60
"""How many more sizes are tried after the first that run, in search of some at which the file is as it declares.

A number and no time: the same file is to become the same model on every host.
"""

_MOST_OTHERS = 3
"""Dims that are tried in every combination."""

_Sizes = Callable[[int, int, Mapping[str, int]], dict[str, int]]


@dataclass(frozen=True, kw_only=True)
class FoundExample:
    """Sizes that the file takes, and one of its calls there."""

    sizes: Mapping[str, int]
    feeds: Mapping[str, Array]
    outputs: Mapping[str, Array]


def found_example(
    runs: ForeignRuns,
    contract: Contract,
    values: TrialValues,
    given: Mapping[str, int],
    subject: str,
    fits: Callable[[Mapping[str, Array]], bool] = lambda feeds: True,
) -> FoundExample:
    """The first sizes at which the file gives finite results, of the sizes that it declares if there are such.

    Args:
        runs: the file.
        contract: what its graph says; every symbol of its inputs gets a size.
        values: what the inputs are given.
        given: sizes that the caller says.
        subject: the file's name, for the error.
        fits: whether a graph's windows lie inside of such inputs.

    Raises:
        AdoptionError: it takes none of the sizes that were tried; with what ONNX Runtime said of the first.
    """
    search = _Search(runs=runs, contract=contract, values=values, fits=fits)
    for sizes in _candidates(contract.free_dims, given):
        if search.is_over():
            break
        found = search.tried(sizes)
        if found is not None and are_as_declared(contract, sizes, found.outputs):
            return found
    if search.otherwise is not None:
        return search.otherwise
    dims = ", ".join(f"--size {dim}=N" for dim in contract.free_dims) or "values (--value)"
    raise AdoptionError(
        f"{subject} at {search.count} sizes",
        got=search.first_error,
        expected="sizes and values that the file takes",
        remedy=f"say what it is called with: {dims}",
    )


@dataclass(kw_only=True)
class _Search:
    """How far a search is: the sizes tried, why the first of them failed, and the first call that gave results."""

    runs: ForeignRuns
    contract: Contract
    values: TrialValues
    fits: Callable[[Mapping[str, Array]], bool]
    first_error: str = ""
    count: int = 0
    found_at: int = 0
    otherwise: FoundExample | None = None
    is_endless: bool = False
    start: float = field(default_factory=time.monotonic)

    def is_over(self) -> bool:
        """Whether no more sizes are to be tried: enough after a call, too long without, or a run that does not end."""
        if self.otherwise is not None and self.count - self.found_at > _MOST_AFTER:
            return True
        return self.is_endless or time.monotonic() - self.start > _MOST_SECONDS

    def tried(self, sizes: Mapping[str, int]) -> FoundExample | None:
        """The file's call at these sizes; None where it gives no results that say anything."""
        self.count += 1
        found = self._call_or_why_none(sizes)
        if isinstance(found, str):
            self.first_error = self.first_error or found
            return None
        if self.otherwise is None:
            self.otherwise, self.found_at = found, self.count
        return found

    def _call_or_why_none(self, sizes: Mapping[str, int]) -> FoundExample | str:
        feeds = self.values.feeds(self.contract, sizes)
        if not self.fits(feeds):
            return "a convolution or pooling whose window is larger than its input"
        try:
            outputs = self.runs.outputs(feeds)
            if self.contract.states and not all(map(is_sound, outputs.values())):
                feeds, outputs = _from_zeros(self.runs, self.contract, feeds)
            if not all(map(is_sound, outputs.values())):
                return "an output that is empty, or has NaN in it"
            others = self.values.feeds(self.contract, sizes, 1)
            if not depends_on_inputs(self.runs, self.contract, feeds, others, outputs):
                return "outputs that do not depend on the inputs"
        except BackendError as error:
            self.is_endless = error.got.startswith(NO_ANSWER)  # a recurrence without an end has none at other sizes
            return error.got
        return FoundExample(sizes=sizes, feeds=feeds, outputs=outputs)


def is_sound(value: Array) -> bool:
    """Whether a result is one: not empty, and without NaN."""
    return bool(value.size) and not (value.dtype.kind == "f" and np.isnan(value).any())


def are_as_declared(contract: Contract, sizes: Mapping[str, int], outputs: Mapping[str, Array]) -> bool:
    """Whether the outputs have the inputs' dims where the file declares those: a baked reshape mixes rows otherwise."""
    return all(
        sizes[str(dim)] == size
        for spec in contract.outputs
        if len(spec.dims) == outputs[spec.name].ndim
        for dim, size in zip(spec.dims, outputs[spec.name].shape, strict=True)
        if dim in sizes
    )


def depends_on_inputs(
    runs: ForeignRuns,
    contract: Contract,
    feeds: Mapping[str, Array],
    others: Mapping[str, Array],
    outputs: Mapping[str, Array],
) -> bool:
    """Whether other values of the plain inputs change anything: of a sequence that is too short nothing may be left.

    Raises:
        BackendError: the file does not take the others.
    """
    plain = {spec.name: others[spec.name] for spec in contract.plain_inputs}
    if all(np.array_equal(feeds[name], value) for name, value in plain.items()):
        return True  # nothing to tell by: no plain inputs, or a single token drawn twice
    found = runs.outputs({**feeds, **plain})
    return any(not np.array_equal(found[name], value) for name, value in outputs.items())


def _from_zeros(
    runs: ForeignRuns, contract: Contract, feeds: Mapping[str, Array]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """A call with states that the file itself gave, a few calls after zeros: it may take no others.

    Raises:
        BackendError: the file does not take zeros, or its own states.
    """
    own = {**feeds, **{pair.input: np.zeros_like(feeds[pair.input]) for pair in contract.states}}
    outputs = runs.outputs(own)
    for _ in range(_WARMING_CALLS):
        own |= {
            pair.input: outputs[pair.output]
            for pair in contract.states
            if outputs[pair.output].shape == own[pair.input].shape
        }
        outputs = runs.outputs(own)
    return own, outputs


def _candidates(symbols: Sequence[str], given: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """Usual sizes first, then the ladder for all other dims at once, then every combination of a few."""
    others = [symbol for symbol in symbols if symbol not in ("B", "T") and symbol not in given]
    fixed = {symbol: given[symbol] for symbol in symbols if symbol in given}

    def sizes(batch: int, time_steps: int, rest: Mapping[str, int]) -> dict[str, int]:
        found = {"B": batch, "T": time_steps, **rest, **fixed}
        return {symbol: found[symbol] for symbol in symbols}

    seen = set[tuple[int, ...]]()
    for found in itertools.chain(
        (sizes(batch, _TIME, dict.fromkeys(others, _ORDINARY)) for batch in _BATCHES),
        _baked_alone(sizes, symbols, others),
        (sizes(batch, _TIME, dict.fromkeys(others, size)) for size in _LADDER for batch in _BATCHES),
        _all_alike(sizes, symbols, others, [size for size in _LADDER if size <= _MODERATE]),
        _baked(sizes, symbols, others),
        _all_alike(sizes, symbols, others, _LADDER),
        _combinations(sizes, others),
    ):
        if tuple(found.values()) not in seen:
            seen.add(tuple(found.values()))
            yield found


def _all_alike(
    sizes: _Sizes, symbols: Sequence[str], others: Sequence[str], ladder: Sequence[int]
) -> Iterator[dict[str, int]]:
    """One size for the time and all other dims."""
    if "T" in symbols:
        yield from (sizes(batch, size, dict.fromkeys(others, size)) for size in ladder for batch in _BATCHES)


def _baked_alone(sizes: _Sizes, symbols: Sequence[str], others: Sequence[str]) -> Iterator[dict[str, int]]:
    """Every small batch, and every small time; where other dims have to be found, those come first."""
    if others:
        return
    yield from (sizes(batch, _TIME, {}) for batch in _SMALL if "B" in symbols)
    yield from (sizes(batch, time_steps, {}) for time_steps in _SMALL for batch in _BATCHES if "T" in symbols)


def _baked(sizes: _Sizes, symbols: Sequence[str], others: Sequence[str]) -> Iterator[dict[str, int]]:
    """Every small batch, and every small time with it."""
    rest = dict.fromkeys(others, _ORDINARY)
    yield from (sizes(batch, _TIME, rest) for batch in _SMALL if "B" in symbols)
    if "T" in symbols:
        yield from (sizes(batch, time_steps, rest) for time_steps in _SMALL for batch in (*_BATCHES, *_SMALL[2:]))


def _combinations(sizes: _Sizes, others: Sequence[str]) -> Iterator[dict[str, int]]:
    if len(others) > _MOST_OTHERS:
        return
    for batch in _BATCHES:
        # A batch without a name of its own is among them: its size comes first.
        for combination in itertools.product((batch, *_LADDER), repeat=len(others)):
            yield sizes(batch, _TIME, dict(zip(others, combination, strict=True)))
    for size in _LADDER:
        for combination in itertools.product((1, 2, size), repeat=len(others)):
            yield sizes(1, size, dict(zip(others, combination, strict=True)))
