import dataclasses
from typing import Any

import numpy as np
import pytest
from tests.contracts import recurrence_of

from rnnx.truths.cases import cases, random_feeds, time_of
from rnnx_runtime.contract import Source

ENCODER = recurrence_of(
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


def test_a_cells_time_is_its_own_and_its_batches_are_the_sizes() -> None:
    contract = dataclasses.replace(ENCODER, **CELL, form="unrolled", steps=4)  # type: ignore[arg-type] # plain values
    found = [case.feeds["x"].shape[:2] for case in cases(contract, ((1, 2), (9, 2), (3, 1)))]
    assert found == [(4, 1), (4, 2), (4, 3)]  # and one of zero states


@pytest.mark.parametrize(
    ("kind", "time", "batch", "lengths"),
    [
        ("equal", 7, 3, [6, 6, 6]),
        ("equal", 1, 2, [1, 1]),
        ("increasing", 7, 4, [4, 5, 6, 7]),
        ("increasing", 2, 4, [1, 1, 1, 2]),
    ],
)
def test_lengths_are_of_the_kind_asked_for(kind: Any, time: int, batch: int, lengths: list[int]) -> None:
    assert random_feeds(ENCODER, time, batch, seed=0, lengths=kind)["lengths"].tolist() == lengths


def test_the_scale_is_the_inputs_alone() -> None:
    plain, scaled = (random_feeds(ENCODER, 5, 3, seed=0, scale=scale) for scale in (1.0, 30.0))
    np.testing.assert_allclose(scaled["x"], 30 * plain["x"], rtol=1e-6)
    np.testing.assert_array_equal(scaled["h0"], plain["h0"])


@pytest.mark.parametrize(
    ("changes", "time"),
    [({}, 5), ({"batch_first": True}, 5), ({**CELL, "form": "step"}, 1), ({**CELL, "form": "unrolled", "steps": 4}, 4)],
    ids=["encoder", "batch-first", "step", "unrolled"],
)
def test_the_time_of_inputs_is_known_for_every_form(changes: dict[str, Any], time: int) -> None:
    contract = dataclasses.replace(ENCODER, **changes)
    assert time_of(contract, random_feeds(contract, 5, 3, seed=0)) == time


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
