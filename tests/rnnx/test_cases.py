import dataclasses
from typing import Any

import numpy as np
import pytest

from rnnx.cases import cases, random_feeds
from rnnx_runtime import Contract
from rnnx_runtime.contract import Source

ENCODER = Contract(
    form="encoder",
    cell="lstm",
    input_size=3,
    hidden_size=5,
    projection_size=5,
    layers=2,
    directions=2,
    steps=None,
    batch_first=False,
    state_inputs=True,
    lengths=True,
    precision="float32",
    formulation="fused",
    source=Source(file="model.pt", module="", weights_sha256="ab" * 32),
)
CELL = {"layers": 1, "directions": 1, "lengths": False}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="encoder"),
        pytest.param({"batch_first": True}, id="encoder-batch-first"),
        pytest.param({"cell": "gru", "state_inputs": False}, id="gru-no-state"),
        pytest.param({**CELL, "form": "step"}, id="step"),
        pytest.param({**CELL, "form": "unrolled", "steps": 4, "cell": "gru"}, id="unrolled"),
    ],
)
def test_every_case_has_the_contracts_inputs(changes: dict[str, Any]) -> None:
    contract = dataclasses.replace(ENCODER, **changes)
    for case in cases(contract):
        assert list(case.feeds) == [spec.name for spec in contract.inputs]
        sizes: dict[object, int] = {}
        for spec in contract.inputs:
            value = case.feeds[spec.name]
            assert value.dtype == spec.dtype
            assert value.ndim == len(spec.dims)
            for dim, size in zip(spec.dims, value.shape, strict=True):
                assert size == (dim if isinstance(dim, int) else sizes.setdefault(dim, size))


def test_case_names_are_unique() -> None:
    names = [case.name for case in cases(ENCODER)]
    assert len(set(names)) == len(names)


def test_encoders_are_compared_at_one_two_and_odd_sizes() -> None:
    sizes = [case.feeds["x"].shape[:2] for case in cases(ENCODER)]
    for axis in (0, 1):
        found = {size[axis] for size in sizes}
        assert {1, 2} <= found
        assert any(size % 2 for size in found - {1})


def test_cells_are_compared_at_batches_of_one_two_and_odd() -> None:
    contract = dataclasses.replace(ENCODER, **CELL, form="step")  # type: ignore[arg-type] # plain values
    found = {case.feeds["x"].shape[0] for case in cases(contract)}
    assert {1, 2, 3} <= found


def test_states_are_drawn_and_not_zero() -> None:
    feeds = random_feeds(ENCODER, 5, 3, seed=0)
    assert feeds["h0"].all()
    assert feeds["c0"].all()
    assert np.abs(feeds["h0"]).max() <= 1


@pytest.mark.parametrize("seed", range(5))
def test_lengths_reach_from_one_to_the_whole_time(seed: int) -> None:
    lengths = random_feeds(ENCODER, 6, 4, seed)["lengths"]
    assert lengths.min() >= 1
    assert lengths.max() == 6


def test_the_seed_decides_the_values() -> None:
    first, again, other = (random_feeds(ENCODER, 5, 3, seed)["x"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
