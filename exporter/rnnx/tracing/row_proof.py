"""How the rows of a model's batch go together, found by running it: each beside other rows and padding, in float64."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rnnx.tracing.eager import EagerModel
from rnnx.tracing.sameness import alike, raised
from rnnx.truths.cases import Array
from rnnx.truths.model_cases import CaseSource, drawn_case, with_sorted_lengths
from rnnx.truths.rows import LOUD, has_rows, live, padded, put_rows, take_rows
from rnnx_runtime.contract import Batching, Contract

BATCH = 3

LEAST_TIME = 5
"""Time steps, where the model leaves its time free: enough that falling lengths differ."""

FILLS = {"10,000": 1e4, "NaN": np.nan}
"""What stands in the padding, in turn, in place of random values."""


@dataclass(frozen=True)
class _Trial:
    """Inputs of a batch that leave the result of some rows as it is, and what is different about the others."""

    what: str
    feeds: Mapping[str, Array]
    rows: tuple[int, ...]
    """Rows of the whole batch, in the order in which they come here, first."""


def batching_of(eager: EagerModel, contract: Contract, example: Mapping[str, Any]) -> Batching:
    """Whether a row's result depends on its mates, on its place or on its padding.

    Args:
        eager: the model, nothing of it patched.
        contract: its inputs, outputs, states and lengths.
        example: the example's value of every input, states included: arrays or tensors.
    """
    if "B" not in contract.free_dims:
        return Batching()
    given = {spec.name: np.asarray(example[spec.name], spec.dtype) for spec in contract.inputs}
    source = CaseSource(contract=contract, example=given)
    own = source.sizes
    sizes = {dim: max(size, LEAST_TIME) if dim == "T" else BATCH if dim == "B" else size for dim, size in own.items()}
    try:
        coupled = _coupled(eager, source, sizes)
        padding = "" if coupled else _read_padding(eager, source, sizes)
    except Exception as error:  # the model's own, which may raise anything
        return Batching(rows="coupled", padding="read", reason=raised(f"other rows in a batch of {BATCH}", error))
    if coupled:
        return Batching(rows="coupled", padding="read" if contract.lengths else "ignored", reason=coupled)
    return Batching(padding="read", reason=padding) if padding else Batching()


def _coupled(eager: EagerModel, source: CaseSource, sizes: Mapping[str, int]) -> str:
    """How a row's result depends on the others; empty where it does not."""
    contract = source.contract
    rowed = [spec for spec in contract.outputs if has_rows(spec)]
    feeds = with_sorted_lengths(drawn_case(source, sizes, seed=0), contract).feeds
    whole = eager.outputs(feeds, torch.float64)
    for trial in _trials(source, sizes, feeds):
        found = eager.outputs(trial.feeds, torch.float64)
        count = range(len(trial.rows))
        own, expected = take_rows(rowed, found, list(count)), take_rows(rowed, whole, trial.rows)
        for name, value in expected.items():
            if not alike(own[name], value):
                return f"output {name!r} of a row differs {trial.what}"
    return ""


def _trials(source: CaseSource, sizes: Mapping[str, int], feeds: Mapping[str, Array]) -> Iterator[_Trial]:
    contract = source.contract
    yield _Trial("alone", take_rows(contract.inputs, feeds, [0]), (0,))
    others = with_sorted_lengths(drawn_case(source, sizes, seed=1, scale=LOUD), contract).feeds
    mates = list(range(1, sizes["B"]))
    yield _Trial("beside loud rows", put_rows(contract.inputs, feeds, mates, others), (0,))
    nan = {name: np.full_like(value, np.nan) if value.dtype.kind == "f" else value for name, value in others.items()}
    yield _Trial("beside rows of NaN", put_rows(contract.inputs, feeds, mates, nan), (0,))
    if not contract.lengths:  # a packed sequence may take its rows by falling length alone
        order = tuple(range(sizes["B"]))[::-1]
        yield _Trial("in another place of the batch", take_rows(contract.inputs, feeds, order), order)


def _read_padding(eager: EagerModel, source: CaseSource, sizes: Mapping[str, int]) -> str:
    """How the padding gets into a result; empty where it does not, or where there is none."""
    contract = source.contract
    if len(contract.lengths) != 1:
        return "several lengths, one of which may mask what another pads" if contract.lengths else ""
    lengths = contract.lengths[0]
    feeds = with_sorted_lengths(drawn_case(source, sizes, seed=0), contract).feeds
    whole = eager.outputs(feeds, torch.float64)
    for word, fill in FILLS.items():
        found = eager.outputs(padded(contract, feeds, fill), torch.float64)
        for spec in contract.outputs:
            seen = live(spec, found[spec.name], feeds[lengths])
            if not alike(seen, live(spec, whole[spec.name], feeds[lengths])):
                return f"output {spec.name!r} differs where the padding is {word}"
    return ""
