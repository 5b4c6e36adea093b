"""The inputs that calls are timed on."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnx.truths.cases import random_feeds
from rnnx_runtime.contract import Recurrence

Array = NDArray[Any]


def timing_feeds(contract: Recurrence, time: int, batch: int) -> dict[str, Array]:
    """Seeded inputs whose rows are all full, or throughput would count steps that nobody computes.

    Raises:
        MemoryError, ValueError: this host, or NumPy, has no arrays of these sizes.
    """
    feeds = random_feeds(contract, time, batch, seed=0)
    if "lengths" in feeds:
        feeds["lengths"] = np.full(batch, time, np.int32)
    return feeds
