"""The limit of one output of one case: the tolerance table applied to its inputs and its truth."""

import numpy as np

from rnnx.cases import time_of
from rnnx.tolerances import products_per_sum, tolerance_for
from rnnx.truth import CaseTruth
from rnnx_runtime.contract import Contract


def limit_of(entry: CaseTruth, output: str, contract: Contract, precision: str) -> float:
    """The largest error of one output that passes.

    Raises:
        OptionError: the tolerance table does not know the precision.
    """
    depth = time_of(contract, entry.case.feeds) * contract.layers
    largest = max(float(np.abs(entry.truth[output]).max()), root_mean_square(entry.case.feeds["x"]))
    return tolerance_for(precision).limit(entry.float32_error[output], products_per_sum(contract), depth, largest)


def root_mean_square(x: np.ndarray) -> float:
    """The size of the numbers in a sum of products with `x`."""
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))
