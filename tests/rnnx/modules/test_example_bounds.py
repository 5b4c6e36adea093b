import pytest
import torch

from rnnx.modules.example_bounds import BYTES, VALUES, bytes_of, unfit_values
from rnnx.modules.example_inputs import DTYPES, described_inputs


def test_every_dtype_has_a_size_and_every_number_its_ends() -> None:
    assert set(BYTES) == set(DTYPES)
    assert {*VALUES, "bool"} == set(DTYPES)
    assert all(BYTES[name] == getattr(torch, name).itemsize for name in DTYPES)


@pytest.mark.parametrize("dtype", VALUES)
def test_the_ends_of_a_dtype_can_be_drawn(dtype: str) -> None:
    least, most = VALUES[dtype]
    for low, high in ((least, 0), (0, most)):
        (tensor,) = described_inputs([f"x:{dtype}:50:{int(low)}..{int(high)}"]).tensors().values()
        assert torch.isfinite(tensor.double()).all()
        assert low <= tensor.double().min() <= tensor.double().max() <= high


@pytest.mark.parametrize("dtype", VALUES)
def test_beyond_the_ends_nothing_can(dtype: str) -> None:
    least, most = VALUES[dtype]
    for low, high in ((least * 2, 0), (0, most * 2), (float("-inf"), 0), (0, float("inf"))):
        assert f"values of {dtype}, from" in unfit_values(dtype, low, high)


def test_floats_are_no_further_apart_than_they_are_drawn() -> None:
    assert unfit_values("float64", -3e38, 3e38) == "values no further apart than 3.4e+38"
    assert not unfit_values("float16", -65504, 65504)


def test_bytes_are_those_of_all_tensors() -> None:
    assert bytes_of([("float64", (3, 5)), ("bool", (7,)), ("int32", ())]) == 3 * 5 * 8 + 7 + 4
