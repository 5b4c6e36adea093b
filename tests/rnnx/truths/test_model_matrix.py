"""The cases that a whole model is verified with where its module is there."""

from dataclasses import replace

import numpy as np
import pytest
from tests.whole_model import CONTRACT, example_of

from rnnx.truths.matrix_names import MatrixName
from rnnx.truths.model_cases import CaseSource, drawn_cases
from rnnx.truths.model_matrix import MATRICES, fresh_cases
from rnnx_runtime.contract import TensorSpec

SOURCE = CaseSource(contract=CONTRACT, example=example_of())


def test_quick_has_the_golden_files_sizes_and_none_of_its_values() -> None:
    golden = {case.name: case.feeds["x"] for case in drawn_cases(SOURCE, 0)}
    fresh = {case.name: case.feeds["x"] for case in fresh_cases("quick", ())(SOURCE, 0)}
    assert fresh.keys() == golden.keys()
    for name, value in golden.items():
        assert fresh[name].shape == value.shape
        assert not np.isclose(fresh[name], value).all()


@pytest.mark.parametrize("name", MATRICES)
def test_every_case_has_a_name_of_its_own(name: MatrixName) -> None:
    names = [case.name for case in fresh_cases(name, [{"T": 9, "B": 4}, {"T": 2, "B": 2}])(SOURCE, 0)]
    assert len({*names}) == len(names)
    assert "T9 B4" in names


def test_full_adds_a_large_batch_and_a_long_time() -> None:
    quick, full = ({case.name for case in fresh_cases(name, ())(SOURCE, 0)} for name in ("quick", "full"))
    assert quick < full
    assert {"T7 B64", "T200 B1"} <= full


def test_soak_draws_four_times() -> None:
    cases = {case.name: case.feeds for case in fresh_cases("soak", ())(SOURCE, 0)}
    drawn = [cases[f"T7 B64{mark}"]["x"] for mark in ("", " seed 1", " seed 2", " seed 3")]
    assert len({value.tobytes() for value in drawn}) == 4


def test_another_number_gives_other_values_of_the_same_cases() -> None:
    first, second = ({case.name: case.feeds["x"] for case in fresh_cases("full", ())(SOURCE, n)} for n in (0, 1))
    assert first.keys() == second.keys()
    assert not any(np.array_equal(first[name], second[name]) for name in first)


def test_a_model_of_fixed_sizes_has_one_case() -> None:
    spec = TensorSpec(name="x", dtype="float32", dims=(2, 3))
    contract = replace(CONTRACT, inputs=(spec,), states=(), lengths=())
    source = CaseSource(contract=contract, example={"x": np.zeros((2, 3), np.float32)})
    assert [case.name for case in fresh_cases("full", [{}])(source, 0)] == ["fixed sizes"]
