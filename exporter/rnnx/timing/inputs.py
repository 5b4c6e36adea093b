"""The shape and the inputs that calls are timed on."""

from collections.abc import Mapping

import numpy as np

from rnnx.errors import OptionError
from rnnx.truths.cases import random_feeds
from rnnx.truths.model_cases import CaseSource, drawn_case
from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Contract

TIMED_SIZES = {"T": 50, "B": 1}
"""What is timed unless said otherwise: one stream, half a second of 10 ms frames."""


def timed_sizes(inputs: CaseSource, wanted: Mapping[str, int]) -> dict[str, int]:
    """The size of each dim that the model leaves free: T no shorter than its example's, other dims the example's.

    Raises:
        OptionError: a size that the model fixes, or one below 1.
    """
    contract = inputs.contract
    own = {dim: TIMED_SIZES.get(dim, 1) for dim in contract.free_dims} if contract.bare else inputs.sizes
    for dim, size in wanted.items():
        if dim not in own or size < 1:
            raise OptionError(
                "sizes",
                got=f"{dim}={size}" + (f" for form {contract.bare.form}" if contract.bare else ""),
                expected=" and ".join(f"{name} ≥ 1" for name in own) or "none: the model fixes every size",
                remedy="other sizes are fixed by the model",
            )
    defaults = {"T": max(TIMED_SIZES["T"], own.get("T", 1)), "B": TIMED_SIZES["B"]}
    return {dim: wanted.get(dim, defaults.get(dim, size)) for dim, size in own.items()}


def timing_feeds(inputs: CaseSource, sizes: Mapping[str, int]) -> dict[str, Array]:
    """Seeded inputs whose rows are all full, or throughput would count steps that nobody computes.

    Raises:
        MemoryError, ValueError: this host, or NumPy, has no arrays of these sizes.
    """
    bare, lengths = inputs.contract.bare, inputs.contract.lengths
    if bare is not None:
        feeds = random_feeds(bare, sizes.get("T", bare.steps or 1), sizes["B"], seed=0)
        return feeds | {name: np.full_like(feeds[name], sizes.get("T", feeds[name].max())) for name in lengths}
    own = {**drawn_case(inputs, sizes, seed=0).feeds}
    shapes = {name: value.shape for name, value in own.items()}
    full = {name: np.full_like(own[name], sizes.get("T", own[name].max())) for name in lengths}
    counted = {name: counts.full(shapes[name], shapes) for name, counts in inputs.counts.items()}
    return own | full | {name: value.astype(own[name].dtype) for name, value in counted.items()}


def steps_of_call(contract: Contract, sizes: Mapping[str, int]) -> int:
    """Time steps of one call, over all rows of the batch."""
    fixed = contract.bare.steps if contract.bare else contract.decoder.steps if contract.decoder else None
    return sizes.get("T", fixed or 1) * sizes.get("B", 1)
