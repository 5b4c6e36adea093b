"""Cases of a whole model: other sizes than the example's, values like the example's."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.whole_model import CONTRACT, WIDTH, example_of

from rnnx.truths.model_cases import CaseSource, drawn_case, drawn_cases, model_sizes, sizes_name, with_sorted_lengths
from rnnx_runtime.arrays.dim_sizes import sizes_from_feeds
from rnnx_runtime.contract import SizeRange, TensorSpec


def _source(time: int = 4, batch: int = 2, **changes: Any) -> CaseSource:
    return CaseSource(contract=CONTRACT, example={**example_of(time, batch), **changes})


def test_sizes_are_one_two_odd_the_examples_and_beyond() -> None:
    found = {(sizes["T"], sizes["B"]) for sizes in model_sizes(_source(time=40, batch=6))}
    assert found == {(1, 1), (2, 2), (3, 1), (7, 3), (43, 2), (40, 1)}


def test_further_dims_go_around_the_examples_size_and_down_to_one() -> None:
    memory = TensorSpec(name="memory", dtype="float32", dims=("B", "D1"))
    contract = replace(CONTRACT, inputs=(*CONTRACT.inputs, memory))
    example = {**example_of(), "memory": np.zeros((2, 5), np.float32)}
    found = model_sizes(CaseSource(contract=contract, example=example))
    assert {sizes["D1"] for sizes in found} == {1, 4, 5, 6}
    assert {"T": 4, "B": 2, "D1": 1} in found


def test_a_model_of_fixed_sizes_has_one_case_of_them() -> None:
    flags = TensorSpec(name="flag", dtype="bool", dims=())
    scale = TensorSpec(name="scale", dtype="float32", dims=())
    contract = replace(CONTRACT, inputs=(flags, scale), states=(), lengths=())
    source = CaseSource(contract=contract, example={"flag": np.array(True), "scale": np.array(2, np.float32)})
    (case,) = drawn_cases(source, seed=0)
    assert case.name == "fixed sizes"
    assert case.feeds["flag"].shape == case.feeds["scale"].shape == ()


def test_every_case_fits_the_contract() -> None:
    for case in drawn_cases(_source(), seed=0):
        sizes = sizes_from_feeds(CONTRACT.inputs, case.feeds)
        assert case.feeds.keys() == {spec.name for spec in CONTRACT.inputs}
        for spec in CONTRACT.inputs:
            assert case.feeds[spec.name].dtype == spec.dtype
            assert case.feeds[spec.name].shape == tuple(sizes.get(str(dim), dim) for dim in spec.dims)


def test_lengths_are_in_range_one_is_the_longest_and_masks_begin_true() -> None:
    for case in drawn_cases(_source(), seed=0):
        lengths, time = case.feeds["lengths"], case.feeds["x"].shape[1]
        assert lengths.min() >= 1
        assert lengths.max() == (time - 2 if case.name.endswith("short lengths") else time)
        assert case.feeds["mask"][:, 0].all()


def test_states_are_not_zero_but_in_one_case() -> None:
    states = {case.name: case.feeds["h0"].any() for case in drawn_cases(_source(), seed=0)}
    assert [name for name, own in states.items() if not own] == ["T5 B3 zero state"]


def test_values_are_like_the_examples() -> None:
    tokens = TensorSpec(name="tokens", dtype="int64", dims=("B", "T"))
    contract = replace(CONTRACT, inputs=(*CONTRACT.inputs, tokens))
    example = {**example_of(), "tokens": np.array([[3, 4, 6, 3]] * 2), "x": np.ones((2, 4, WIDTH), np.float32)}
    case = drawn_case(CaseSource(contract=contract, example=example), {"T": 50, "B": 3}, seed=0)
    assert set(case.feeds["tokens"].ravel().tolist()) == {3, 4, 5, 6}
    assert case.feeds["x"].min() >= 0
    assert drawn_case(_source(), {"T": 50, "B": 3}, seed=0).feeds["x"].min() < 0


def test_the_same_seed_gives_the_same_case_and_another_one_another() -> None:
    first, again, other = (drawn_case(_source(), {"T": 5, "B": 2}, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.feeds["x"], again.feeds["x"])
    assert (first.feeds["x"] != other.feeds["x"]).any()


def test_lengths_can_be_sorted() -> None:
    case = drawn_case(_source(), {"T": 50, "B": 9}, seed=0)
    found = with_sorted_lengths(case, CONTRACT).feeds["lengths"]
    assert (np.diff(case.feeds["lengths"]) > 0).any()
    assert found.tolist() == sorted(case.feeds["lengths"].tolist(), reverse=True)


@pytest.mark.parametrize(
    ("sizes", "name"), [({"B": 3, "D1": 4, "T": 5}, "T5 B3 D1=4"), ({"B": 1}, "B1"), ({}, "fixed sizes")], ids=str
)
def test_a_case_is_named_by_its_sizes(sizes: dict[str, int], name: str) -> None:
    assert sizes_name(sizes) == name


def test_cases_lie_inside_of_the_contracts_ranges() -> None:
    ranged = replace(CONTRACT, ranges={"T": SizeRange(min=5, max=8)})
    source = replace(_source(time=6), contract=ranged)
    sizes = [sizes_from_feeds(source.contract.inputs, case.feeds) for case in drawn_cases(source, 0)]
    assert {own["T"] for own in sizes} == {5, 6, 7, 8}
    assert drawn_case(source, {"T": 1, "B": 2}, 0).name == "T5 B2"


def test_sizes_at_which_an_input_would_be_empty_move_towards_the_examples() -> None:
    wav = TensorSpec(name="wav", dtype="float32", dims=("B", "20*T - 80"))
    contract = replace(CONTRACT, inputs=(*CONTRACT.inputs, wav))
    source = CaseSource(contract=contract, example={**example_of(9), "wav": np.zeros((2, 100), np.float32)})
    assert {sizes["T"] for sizes in model_sizes(source)} == {5, 7, 9, 12}
    case = drawn_case(source, {"T": 1, "B": 3}, seed=0)
    assert (case.name, case.feeds["wav"].shape, case.feeds["x"].shape) == ("T5 B3", (3, 20), (3, 5, WIDTH))
