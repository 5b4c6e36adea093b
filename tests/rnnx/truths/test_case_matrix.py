import dataclasses
from typing import Any

import numpy as np
import pytest
from tests.contracts import recurrence_of

from rnnx.errors import OptionError
from rnnx.truths.case_matrix import MATRICES, matrix_cases
from rnnx.truths.matrix_names import MATRIX_NAMES, MatrixName
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
STEP = dataclasses.replace(ENCODER, form="step", layers=1, directions=1, lengths=False)


@pytest.mark.parametrize("name", MATRIX_NAMES)
def test_case_names_are_unique(name: MatrixName) -> None:
    for contract in (ENCODER, STEP):
        names = [case.name for case in matrix_cases(contract, name)]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", MATRIX_NAMES)
def test_encoders_are_compared_at_one_two_and_odd_sizes(name: MatrixName) -> None:
    sizes = [case.feeds["x"].shape[:2] for case in matrix_cases(ENCODER, name)]
    for axis in (0, 1):
        found = {size[axis] for size in sizes}
        assert {1, 2} <= found
        assert any(size % 2 for size in found - {1})


def test_cells_are_compared_at_batches_of_one_two_and_odd() -> None:
    found = {case.feeds["x"].shape[0] for case in matrix_cases(STEP, "quick")}
    assert {1, 2, 3} <= found


def test_each_matrix_has_the_sizes_of_the_one_before_and_more() -> None:
    quick, full, soak = (set(MATRICES[name].sizes) for name in MATRIX_NAMES)
    assert quick < full < soak
    assert max(time for time, _ in full) >= 500
    assert max(batch for _, batch in full) >= 64


def test_states_are_zero_in_one_case_and_drawn_in_the_others() -> None:
    zero = [
        case.name for case in matrix_cases(ENCODER, "quick") if not (case.feeds["h0"].any() or case.feeds["c0"].any())
    ]
    assert zero == ["T5 B3 zero state"]


def test_gates_are_left_alone_and_saturated() -> None:
    found = {case.name: float(np.abs(case.feeds["x"]).max()) for case in matrix_cases(ENCODER, "quick")}
    assert found["T7 B4 small inputs"] < 0.01
    assert found["T7 B4 large inputs"] > 30


def test_lengths_are_random_equal_and_increasing() -> None:
    lengths = {case.name: case.feeds["lengths"].tolist() for case in matrix_cases(ENCODER, "quick")}
    assert lengths["T7 B4 equal lengths"] == [6] * 4
    assert lengths["T7 B4 increasing lengths"] == [4, 5, 6, 7]


@pytest.mark.parametrize("changes", [{"lengths": False}, {"state_inputs": False}], ids=["no-lengths", "no-states"])
def test_cases_of_what_the_model_does_not_take_are_left_out(changes: dict[str, Any]) -> None:
    all_of_them = matrix_cases(ENCODER, "quick")
    fewer = matrix_cases(dataclasses.replace(ENCODER, **changes), "quick")
    assert len(fewer) < len(all_of_them)


def test_sizes_of_the_callers_are_added_once() -> None:
    names = [case.name for case in matrix_cases(ENCODER, "quick", [(9, 4), (1, 1), (9, 4)])]
    assert names.count("T9 B4") == names.count("T1 B1") == 1


def test_a_soak_draws_every_case_with_several_seeds() -> None:
    found = {case.name: case.feeds["x"] for case in matrix_cases(STEP, "soak")}
    assert not np.array_equal(found["B3"], found["B3 seed 1"])
    assert len(found) == len(matrix_cases(STEP, "full")) * len(MATRICES["soak"].seeds)


def test_an_unknown_matrix_names_the_known_ones() -> None:
    with pytest.raises(OptionError, match=r"expected quick \| full \| soak"):
        matrix_cases(ENCODER, "huge")  # type: ignore[arg-type] # what a caller may write
