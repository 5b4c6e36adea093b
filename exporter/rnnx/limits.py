"""The limit of one output of one case: the tolerance table applied to its inputs and its truth."""

from collections.abc import Mapping

import numpy as np

from rnnx.cases import Array, time_of
from rnnx.comparable import comparable
from rnnx.tolerances import products_per_sum, tolerance_for
from rnnx.truth import CaseTruth
from rnnx_runtime.contract import Contract
from rnnx_runtime.dim_sizes import sizes_from_feeds
from rnnx_runtime.model_contract import ModelContract

EXACT = 0.5
"""The limit of whole numbers, which are right or wrong."""


def limit_of(entry: CaseTruth, output: str, contract: Contract | ModelContract, precision: str) -> float:
    """The largest error of one output that passes.

    Raises:
        OptionError: the tolerance table does not know the precision.
    """
    if isinstance(contract, ModelContract):
        return _model_limit(entry, output, contract, precision)
    depth = time_of(contract, entry.case.feeds) * contract.layers
    largest = max(float(np.abs(entry.truth[output]).max()), root_mean_square(entry.case.feeds["x"]))
    return tolerance_for(precision).limit(entry.float32_error[output], products_per_sum(contract), depth, largest)


def _model_limit(entry: CaseTruth, output: str, contract: ModelContract, precision: str) -> float:
    """A whole model's: its steps pass through all its recurrent layers, and the longest sum is the widest layer's."""
    truth = entry.truth[output]
    if truth.dtype.kind != "f":
        return EXACT
    feeds = entry.case.feeds
    layers = sum(part.layers for part in contract.recurrent)
    products = [max(p.input_size, p.directions * p.projection_size) + p.projection_size for p in contract.recurrent]
    sizes = [root_mean_square(value) for value in feeds.values() if value.dtype.kind == "f"]
    largest = max(float(np.abs(comparable(truth, truth)).max()), *sizes, 0.0)
    depth = _model_time(contract, feeds) * max(layers, 1)
    return tolerance_for(precision).limit(entry.float32_error[output], max(products, default=1), depth, largest)


def _model_time(contract: ModelContract, feeds: Mapping[str, Array]) -> int:
    """T, a decoder's own steps, or the larger of an input's first two axes where the model fixes its time."""
    if contract.decoder is not None and contract.decoder.steps:
        return contract.decoder.steps
    fixed = [size for spec in contract.inputs if len(spec.dims) > 1 for size in feeds[spec.name].shape[:2]]
    return sizes_from_feeds(contract.inputs, feeds).get("T", max(fixed, default=1))


def root_mean_square(x: np.ndarray) -> float:
    """The size of the numbers in a sum of products with `x`."""
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))
