"""Inputs that count the steps of another input's axis, told by an example."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.whole_model import CONTRACT

from rnnx.truths.counted_axes import counts_of
from rnnx.truths.model_cases import CaseSource, drawn_case
from rnnx_runtime.contract import Contract, Dim, TensorSpec


def _contract(lengths: tuple[str, ...] = (), **inputs: tuple[str, tuple[Dim, ...]]) -> Contract:
    specs = tuple(TensorSpec(name=name, dtype=dtype, dims=dims) for name, (dtype, dims) in inputs.items())
    return replace(CONTRACT, inputs=specs, states=(), lengths=lengths)


def _zeros(*shape: int) -> Any:
    return np.zeros(shape, np.float32)


SOURCE = ("float32", ("B", "T", 5))
TARGET = ("float32", ("B", "D1", 3))


def _drawn(contract: Contract, example: dict[str, Any], **sizes: int) -> dict[str, Any]:
    return dict(drawn_case(CaseSource(contract=contract, example=example), sizes, seed=1).feeds)


@pytest.mark.parametrize("size", [9, 12], ids=["as-long", "longer"])
def test_two_lengths_count_the_axes_of_their_own_sequences(size: int) -> None:
    contract = _contract(
        ("src_len", "tgt_len"), src=SOURCE, tgt=TARGET, src_len=("int64", ("B",)), tgt_len=("int64", ("B",))
    )
    example = {
        "src": _zeros(2, 9, 5),
        "tgt": _zeros(2, size, 3),
        "src_len": np.array([9, 7]),
        "tgt_len": np.full(2, size),
    }
    feeds = _drawn(contract, example, B=4, T=20, D1=3)
    assert feeds["src_len"].max() == 20
    assert feeds["tgt_len"].max() == 3


def test_lengths_that_only_a_mask_reads_stay_within_the_axis() -> None:
    contract = _contract(x=SOURCE, n=("int64", ("B", 1)))
    feeds = _drawn(contract, {"x": _zeros(2, 9, 5), "n": np.array([[9], [7]])}, B=4, T=2)
    assert feeds["n"].shape == (4, 1)
    assert (feeds["n"].min(), feeds["n"].max()) == (1, 2)


def test_columns_count_an_axis_each_and_a_table_counts_what_each_row_of_it_has() -> None:
    contract = _contract(
        x=SOURCE, y=TARGET, docs=("int64", ("B", "S", "W")), both=("int64", ("B", 2)), words=("int64", ("B", "S"))
    )
    example = {
        "x": _zeros(2, 9, 5),
        "y": _zeros(2, 11, 3),
        "docs": np.zeros((2, 4, 6), np.int64),
        "both": np.array([[9, 11], [7, 9]]),
        "words": np.array([[6, 5, 4, 3]] * 2),
    }
    feeds = _drawn(contract, example, B=3, T=2, D1=30, S=2, W=1)
    assert feeds["both"].max(0).tolist() == [2, 30]
    assert (feeds["words"] == 1).all()


def test_rows_are_told_by_their_sizes_where_no_name_ties_them() -> None:
    contract = _contract(docs=("int64", ("B", "D1", "T")), words=("int64", ("B", "D2")))
    example = {"docs": np.zeros((2, 4, 6), np.int64), "words": np.array([[6, 5, 4, 3]] * 2)}
    feeds = _drawn(contract, example, B=2, D1=4, D2=4, T=2)
    assert (feeds["words"].min(), feeds["words"].max()) == (1, 2)


def test_parts_of_the_whole_are_steps_of_the_axis() -> None:
    contract = _contract(x=SOURCE, parts=("float32", ("B",)))
    example = {"x": _zeros(2, 8, 5), "parts": np.array([1.0, 0.5], np.float32)}
    for time in (1, 7, 49):
        parts = _drawn(contract, example, B=64, T=time)["parts"]
        steps = parts.astype(np.float64) * time
        assert parts.max() == 1
        assert (np.floor(steps) >= 1).all()
        assert np.abs(steps - np.floor(steps)).max() < 1e-4


@pytest.mark.parametrize(
    ("name", "value"),
    [("tokens", np.array([4, 9])), ("gain", np.array([0.3, 0.7], np.float32)), ("shift", np.array([-1, 5]))],
    ids=["a-table's", "no-whole", "below-one"],
)
def test_other_values_count_nothing(name: str, value: Any) -> None:
    spec = TensorSpec(name=name, dtype=str(value.dtype), dims=("B",))
    contract = replace(_contract(x=SOURCE), table_sizes={"tokens": 20})
    contract = replace(contract, inputs=(*contract.inputs, spec))
    assert counts_of(contract, {"x": _zeros(2, 9, 5), name: value}) == {}


def test_full_rows_have_all_steps() -> None:
    contract = _contract(x=SOURCE, n=("int64", ("B",)), parts=("float32", ("B",)))
    example = {"x": _zeros(2, 8, 5), "n": np.array([8, 3]), "parts": np.array([1.0, 0.5], np.float32)}
    counts, shapes = counts_of(contract, example), {"x": (3, 50, 5)}
    assert counts["n"].full((3,), shapes).tolist() == [50] * 3
    assert counts["parts"].full((3,), shapes).tolist() == [1] * 3
