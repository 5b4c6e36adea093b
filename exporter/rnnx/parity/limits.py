"""The limit of one output of one case: the tolerance table applied to its inputs and its truth."""

from collections.abc import Mapping

import numpy as np

from rnnx.parity.tolerances import products_per_sum, tolerance_for
from rnnx.truths.cases import Array, time_of
from rnnx.truths.comparable import comparable
from rnnx.truths.truth import CaseTruth
from rnnx_runtime.arrays.dim_sizes import sizes_from_feeds
from rnnx_runtime.contract import Contract, Recurrence

EXACT = 0.5
"""The limit of whole numbers, which are right or wrong."""


def limit_of(entry: CaseTruth, output: str, model: Contract | Recurrence, precision: str) -> float:
    """The largest error of one output that passes.

    Raises:
        OptionError: the tolerance table does not know the precision.
    """
    feeds = entry.case.feeds
    error = entry.float32_error[output]
    return limit_of_values(entry.truth[output], feeds, model, precision, time=steps_of(model, feeds), error=error)


def limit_of_values(
    truth: Array,
    feeds: Mapping[str, Array],
    model: Contract | Recurrence,
    precision: str,
    *,
    time: int,
    error: float = 0.0,
) -> float:
    """The largest error of values that went through `time` steps of all recurrent layers; the longest sum counts.

    `error` is PyTorch's own in float32; without it the limit is the tolerance's floor.

    Raises:
        OptionError: the tolerance table does not know the precision.
    """
    if truth.dtype.kind != "f":
        return EXACT
    parts = model.recurrent if isinstance(model, Contract) else (model,)
    depth = time * max(sum(part.layers for part in parts), 1)
    products = max(map(products_per_sum, parts), default=1)
    sizes = [root_mean_square(value) for value in feeds.values() if value.dtype.kind == "f"]
    largest = max(float(np.abs(comparable(truth, truth)).max()), *sizes, 0.0)
    return tolerance_for(precision).limit(error, products, depth, largest)


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
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))
