"""Values to try a foreign file with, at sizes that may or may not be its own."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from rnnx.adopting.reading import Reading
from rnnx_runtime.array_type import Array
from rnnx_runtime.arrays.dim_sizes import shape_from_sizes
from rnnx_runtime.contract import Contract, TensorSpec

_FLOATS = ("float16", "float32", "float64")


@dataclass(frozen=True, kw_only=True)
class TrialValues:
    """What inputs are given: `ranges` are the least and the largest value of some, both included."""

    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def feeds(self, contract: Contract, sizes: Mapping[str, int], seed: int = 0) -> dict[str, Array]:
        """Seeded values for every input: floats are normal, states uniform in ±1, masks true, lengths those of T."""
        chance = np.random.default_rng([seed, *sizes.values()])
        states = {pair.input for pair in contract.states}
        shapes = {spec.name: shape_from_sizes(spec, sizes) for spec in contract.inputs}
        return {
            spec.name: self._value(chance, contract, spec, shapes, states, sizes).astype(spec.dtype)
            for spec in contract.inputs
        }

    def _value(
        self,
        chance: np.random.Generator,
        contract: Contract,
        spec: TensorSpec,
        shapes: Mapping[str, tuple[int, ...]],
        states: set[str],
        sizes: Mapping[str, int],
    ) -> Array:
        shape = shapes[spec.name]
        low, high = self.ranges.get(spec.name, (None, None))
        if spec.dtype == "bool":
            return np.ones(shape, bool)
        if low is None or high is None:
            if "mask" in spec.name.lower() and spec.name not in states:
                return np.ones(shape)
            if spec.dtype in _FLOATS:
                return chance.uniform(-1, 1, shape) if spec.name in states else chance.standard_normal(shape)
            if _counts(spec, contract):
                return np.full(shape, _longest(spec, contract, shapes, sizes))
            low, high = (1, 2) if _is_single(spec, contract) else (0, contract.table_sizes.get(spec.name, 2) - 1)
        if spec.dtype in _FLOATS:
            return np.asarray(chance.uniform(low, high, shape))
        return np.asarray(chance.integers(int(low), int(high), shape, endpoint=True))


def trial_values(reading: Reading, given: Mapping[str, tuple[float, float]]) -> TrialValues:
    """The ranges that a caller gives, and the constants that the graph compares an integer with."""
    ours = {theirs: own for own, theirs in reading.theirs.items()}
    ranges: dict[str, tuple[float, float]] = {
        name: (values[0], values[0])
        for name, values in reading.compared.items()
        if name not in reading.contract.lengths and name not in reading.contract.table_sizes
    }
    return TrialValues(ranges={**ranges, **{ours.get(name, name): own for name, own in given.items()}})


def _is_single(spec: TensorSpec, contract: Contract) -> bool:
    """Whether an integer is one for a whole call and no place in a table: it may say how often, and 0 gives nothing."""
    return spec.name not in contract.table_sizes and all(dim == 1 for dim in spec.dims)


def _counts(spec: TensorSpec, contract: Contract) -> bool:
    """Whether an integer input says how long rows are: by the graph, or by its name."""
    return spec.name in contract.lengths or (len(spec.dims) == 1 and "len" in spec.name.lower())


def _longest(
    spec: TensorSpec, contract: Contract, shapes: Mapping[str, tuple[int, ...]], sizes: Mapping[str, int]
) -> int:
    """T; of a model without it the second axis of the first input that has one."""
    others = (shapes[own.name][1] for own in contract.plain_inputs if len(own.dims) > 1 and own.name != spec.name)
    return sizes["T"] if "T" in sizes else next(others, 1)
