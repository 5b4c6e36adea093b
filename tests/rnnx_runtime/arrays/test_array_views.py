from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from rnnx_runtime import InputError
from rnnx_runtime.arrays.array_views import array_from_view

VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)


class Dlpack:
    """A tensor that knows DLPack and nothing else."""

    def __init__(self, device: int = 1) -> None:
        self._device = device

    def __dlpack__(self, **options: Any) -> Any:
        return VALUES.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._device, 0


def view(value: Any) -> np.ndarray[Any, Any]:
    return array_from_view(value, "input 'x'", "float32 (2, 3)")


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(VALUES, id="array"),
        pytest.param(VALUES.view(np.memmap), id="subclass"),
        pytest.param(VALUES.data, id="buffer"),
        pytest.param(torch.from_numpy(VALUES), id="torch"),
        pytest.param(SimpleNamespace(__array_interface__=VALUES.__array_interface__, kept=VALUES), id="interface"),
        pytest.param(Dlpack(), id="dlpack"),
        pytest.param(Dlpack(device=3), id="page-locked"),
    ],
)
def test_what_numpy_or_dlpack_can_view_is_viewed_and_not_copied(value: Any) -> None:
    array = view(value)
    assert type(array) is np.ndarray
    assert np.shares_memory(array, VALUES)
    np.testing.assert_array_equal(array, VALUES)


def test_no_dtype_is_cast() -> None:
    assert view(torch.ones(2, 3, dtype=torch.float64)).dtype == np.float64


@pytest.mark.parametrize(
    ("value", "got"),
    [
        pytest.param([[1.0]], "list, ", id="list"),
        pytest.param((1.0,), "tuple, ", id="tuple"),
        pytest.param(1.0, "float, ", id="number"),
        pytest.param("text", "str, ", id="text"),
        pytest.param(None, "NoneType, ", id="none"),
        pytest.param(Dlpack(device=2), "Dlpack on CUDA, ", id="cuda"),
        pytest.param(Dlpack(device=7), "Dlpack on DLPack device 7, ", id="other-device"),
        pytest.param(torch.ones(2, 3, device="meta"), "Tensor, which shows no array (", id="meta"),
        pytest.param(torch.ones(2, 3, requires_grad=True), "Tensor, which shows no array (Can't call", id="gradients"),
        pytest.param(torch.ones(2, 3, dtype=torch.bfloat16), "Tensor, which shows no array (", id="bfloat16"),
        pytest.param(np.ma.masked_less(VALUES, 1), "MaskedArray with a mask, ", id="masked"),
    ],
)
def test_what_shows_no_array_in_host_memory_is_refused_with_the_reason(value: Any, got: str) -> None:
    with pytest.raises(InputError) as caught:
        view(value)
    assert str(caught.value).startswith(f"input 'x': got {got}")
    assert "expected float32 (2, 3); " in str(caught.value)
