from typing import Any

import numpy as np

from rnnx.truths.rows import cut_in_time, equally_long, live, put_rows, take_rows
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


CUT = TensorSpec(name="output", dtype="float32", dims=("B", "D1", 2))


def test_results_that_end_at_the_longest_row_are_compared_as_far_as_both_go() -> None:
    whole, alone = np.arange(12.0).reshape(1, 6, 2), np.arange(8.0).reshape(1, 4, 2)
    ours, theirs = equally_long(CUT, alone, whole)
    assert ours.shape == theirs.shape == (1, 4, 2)
    assert np.array_equal(ours, theirs)
    other = np.zeros((3, 6, 2))
    assert equally_long(CUT, other, whole)[0] is other


def test_the_padding_of_a_cut_result_is_no_value_of_it() -> None:
    value, lengths = np.ones((2, 4, 2), np.float32), np.array([4, 1])
    assert cut_in_time(CUT, value.shape, lengths).dims == ("B", "T", 2)
    assert live(CUT, value, lengths).sum() == 10
    assert cut_in_time(CUT, (2, 3, 2), lengths) is CUT
