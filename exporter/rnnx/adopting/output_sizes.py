"""The sizes of a foreign file's outputs as expressions of its inputs', read off its runs."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from rnnx.adopting.foreign_runs import Run
from rnnx_runtime.arrays.dim_sizes import symbol_sizes
from rnnx_runtime.contract import Contract, Dim, TensorSpec
from rnnx_runtime.dim_expressions import size_of

Sample = tuple[Mapping[str, int], int]
"""The sizes of a call's free dims, and that of an axis of its result."""


def with_output_sizes(contract: Contract, runs: Sequence[Run]) -> Contract:
    """The contract with the outputs' dims as they came: sizes, dims of inputs, expressions, or dims of their own.

    Outputs that are states have their inputs' dims.
    """
    states = {pair.output: pair.input for pair in contract.states}
    inputs = {spec.name: spec for spec in contract.inputs}
    sizes = [symbol_sizes((spec.dims, run.inputs[spec.name]) for spec in contract.inputs) for run in runs]
    fitting = [
        (own, run)
        for own, run in zip(sizes, runs, strict=True)
        if _is_of(contract, run, own) and len(own) == len(sizes[0])
    ]
    own_names = (f"O{number}" for number in itertools.count(1))
    outputs = []
    for spec in contract.outputs:
        if spec.name in states:
            outputs.append(replace(spec, dims=inputs[states[spec.name]].dims))
        else:
            outputs.append(_with_dims(spec, fitting, own_names))
    return replace(contract, outputs=tuple(outputs))


def _is_of(contract: Contract, run: Run, sizes: Mapping[str, int]) -> bool:
    """Whether a call had the contract's sizes: earlier ones may have given dims sizes that turned out to be fixed."""
    return all(
        size_of(dim, sizes) == size
        for spec in contract.inputs
        for dim, size in zip(spec.dims, run.inputs[spec.name], strict=True)
    )


def _with_dims(spec: TensorSpec, runs: Sequence[tuple[Mapping[str, int], Run]], own_names: Iterator[str]) -> TensorSpec:
    rank = len(runs[0][1].outputs[spec.name])
    samples = [(sizes, run.outputs[spec.name]) for sizes, run in runs if len(run.outputs[spec.name]) == rank]
    dims = tuple(_dim([(sizes, shape[axis]) for sizes, shape in samples], own_names) for axis in range(rank))
    return replace(spec, dims=dims)


def _dim(samples: Sequence[Sample], own_names: Iterator[str]) -> Dim:
    if len({size for _, size in samples}) == 1:
        return samples[0][1]
    return next((dim for dim in _expressions(samples) if _fits(dim, samples)), None) or next(own_names)


def _fits(dim: str, samples: Sequence[Sample]) -> bool:
    return all(size_of(dim, sizes) == size for sizes, size in samples)


def _expressions(samples: Sequence[Sample]) -> Iterator[str]:
    """The plain ones first; of a strided axis those whose stride the samples suggest."""
    symbols = list(samples[0][0])
    yield from symbols
    for symbol in symbols:
        yield from _linear(symbol, samples)
    for symbol in symbols:
        yield from _strided(symbol, samples)
    for one, other in itertools.combinations(symbols, 2):
        yield from (f"{one} + {other}", f"{one}*{other}")
        factor = samples[0][1] // max(samples[0][0][one] * samples[0][0][other], 1)
        yield f"{factor}*{one}*{other}"


def _linear(symbol: str, samples: Sequence[Sample]) -> Iterator[str]:
    points = sorted({(sizes[symbol], size) for sizes, size in samples})
    (first, low), (last, high) = points[0], points[-1]
    if last > first and (high - low) % (last - first) == 0:
        factor = (high - low) // (last - first)
        scaled = symbol if factor == 1 else f"{factor}*{symbol}"
        yield scaled + _shift(low - factor * first)


def _strided(symbol: str, samples: Sequence[Sample]) -> Iterator[str]:
    """`(T + a)//k + b` for each k near the slope: a below k, b by the first point."""
    points = sorted({(sizes[symbol], size) for sizes, size in samples})
    (first, low), (last, high) = points[0], points[-1]
    if high <= low:
        return
    slope = (last - first) / (high - low)
    for stride in range(max(2, int(slope) - 1), int(slope) + 3):
        for shift in range(stride):
            begun = f"({symbol} + {shift})//{stride}" if shift else f"{symbol}//{stride}"
            yield begun + _shift(low - (first + shift) // stride)


def _shift(by: int) -> str:
    return "" if by == 0 else f" + {by}" if by > 0 else f" - {-by}"
