from typing import Any

import numpy as np

from rnnx.truths.rows import join_rows, put_rows, take_rows
from rnnx_runtime.contract import TensorSpec

SPECS = (
    TensorSpec(name="x", dtype="float32", dims=("T", "B", 1)),
    TensorSpec(name="lengths", dtype="int32", dims=("B",)),
)


def _arrays(first: int) -> dict[str, Any]:
    lengths = np.arange(first, first + 3)
    return {"x": np.stack([lengths, lengths * 10]).reshape(2, 3, 1), "lengths": lengths}


def test_rows_are_taken_in_their_order_along_b() -> None:
    found = take_rows(SPECS, _arrays(1), [2, 0])
    assert found["x"].tolist() == [[[3], [1]], [[30], [10]]]
    assert found["lengths"].tolist() == [3, 1]


def test_what_is_not_there_is_not_taken() -> None:
    assert take_rows(SPECS, {"lengths": np.arange(3)}, [1]).keys() == {"lengths"}


def test_rows_are_put_into_a_copy() -> None:
    arrays = _arrays(1)
    found = put_rows(SPECS, arrays, [1], _arrays(5))
    assert found["x"].tolist() == [[[1], [6], [3]], [[10], [60], [30]]]
    assert found["lengths"].tolist() == [1, 6, 3]
    assert arrays["lengths"].tolist() == [1, 2, 3]


def test_joining_undoes_taking() -> None:
    arrays = _arrays(1)
    joined = join_rows(SPECS, [take_rows(SPECS, arrays, rows) for rows in ([0], [1, 2])])
    assert all(np.array_equal(joined[name], value) for name, value in arrays.items())
