"""The limit of one output of one case: the tolerance table applied to its inputs and its truth."""

import math
from collections.abc import Iterable, Mapping

import numpy as np

from rnnx.parity.tolerances import products_per_sum, tolerance_for
from rnnx.truths.cases import time_of
from rnnx.truths.comparable import comparable
from rnnx.truths.truth import CaseTruth
from rnnx_runtime.array_type import Array
from rnnx_runtime.arrays.dim_sizes import sizes_from_feeds
from rnnx_runtime.contract import Contract, Recurrence

EXACT = 0.5
"""The limit of whole numbers, which are right or wrong."""


def limit_of(entry: CaseTruth, output: str, model: Contract | Recurrence, precision: str) -> float:
    """The largest error of one output that passes.

    Raises:
        OptionError: the tolerance table does not know the precision.
    """
    return limits_of(entry, (output,), model, precision)[output]


def limits_of(
    entry: CaseTruth, outputs: Iterable[str], model: Contract | Recurrence, precision: str
) -> dict[str, float]:
    """The same of several outputs; raises as `limit_of`."""
    feeds, truth = entry.case.feeds, {name: entry.truth[name] for name in outputs}
    return limits_of_values(
        truth, feeds, model, precision, time=steps_of(model, feeds), float32_error=entry.float32_error
    )


def limits_of_values(
    truth: Mapping[str, Array],
    feeds: Mapping[str, Array],
    model: Contract | Recurrence,
    precision: str,
    *,
    time: int,
    float32_error: Mapping[str, float],
) -> dict[str, float]:
    """The largest errors of values that went through `time` steps of all recurrent layers; the longest sum counts.

    `float32_error` is PyTorch's own; of an output without it the limit is the tolerance's floor.

    Raises:
        OptionError: the tolerance table does not know the precision.
    """
    tolerance = tolerance_for(precision)
    parts = model.recurrent if isinstance(model, Contract) else (model,)
    depth = time * max(sum(part.layers for part in parts), 1)
    products = max(map(products_per_sum, parts), default=1)
    size = max((root_mean_square(value) for value in feeds.values() if value.dtype.kind == "f"), default=0.0)
    limits = {}
    for name, value in truth.items():
        if value.dtype.kind == "f":
            largest = max(float(np.abs(comparable(value, value)).max()), size)
            limits[name] = tolerance.limit(float32_error.get(name, 0.0), products, depth, largest)
        else:
            limits[name] = EXACT
    return limits


def steps_of(model: Contract | Recurrence, feeds: Mapping[str, Array]) -> int:
    """T, a decoder's own steps, or the larger of an input's first two axes where the model fixes its time."""
    bare = model.bare if isinstance(model, Contract) else model
    if bare is not None:
        return time_of(bare, feeds)
    assert isinstance(model, Contract)
    if model.decoder is not None and model.decoder.steps:
        return model.decoder.steps
    fixed = [size for spec in model.inputs if len(spec.dims) > 1 for size in feeds[spec.name].shape[:2]]
    return sizes_from_feeds(model.inputs, feeds).get("T", max(fixed, default=1))


def root_mean_square(x: np.ndarray) -> float:
    """The size of the numbers in a sum of products with `x`."""
    values = x.astype(np.float64).ravel()
    return math.sqrt(values @ values / values.size)
