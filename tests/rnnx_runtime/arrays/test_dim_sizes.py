import numpy as np
import pytest

from rnnx_runtime.arrays.dim_sizes import dims_from_feeds, known_shape, shape_from_sizes, sizes_from_feeds
from rnnx_runtime.contract import Dim, TensorSpec


def _spec(name: str, *dims: Dim) -> TensorSpec:
    return TensorSpec(name=name, dtype="float32", dims=dims)


def test_a_symbol_that_stands_alone_nowhere_is_solved() -> None:
    specs = (_spec("rows", "B*N", 4), _spec("wav", "B", "160*T"), _spec("x", "B", 3))
    feeds = {"rows": np.zeros((10, 4)), "wav": np.zeros((2, 480)), "x": np.zeros((2, 3))}
    assert sizes_from_feeds(specs, feeds) == {"B": 2, "T": 3, "N": 5}
    assert dims_from_feeds(specs, feeds) == {"B*N": 10, "B": 2, "160*T": 480}


def test_what_cannot_be_solved_is_left_out() -> None:
    assert sizes_from_feeds((_spec("wav", "160*T"),), {"wav": np.zeros(481)}) == {}


def test_a_shape_follows_from_sizes() -> None:
    spec = _spec("mask", "B", "T + 1", 3)
    assert shape_from_sizes(spec, {"B": 2, "T": 4}) == (2, 5, 3)
    assert known_shape(spec, {"B": 2}) is None
    with pytest.raises(KeyError, match="mask"):
        shape_from_sizes(spec, {"B": 2})
