import math
from typing import Any

import pytest

from rnnx_runtime import InputError
from rnnx_runtime.pool import PoolOptions


@pytest.mark.parametrize("name", ["max_streams", "max_batch", "max_frames", "max_queue"])
@pytest.mark.parametrize("value", [0, -1, 1.0, True, None, "8"], ids=repr)
def test_a_size_is_a_whole_number_above_zero(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"PoolOptions\.{name}: got .*, expected a whole number ≥ 1; leave it out"):
        PoolOptions(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("max_wait_us", -1, id="negative-wait"),
        pytest.param("max_wait_us", math.nan, id="nan-wait"),
        pytest.param("max_wait_us", math.inf, id="endless-wait"),
        pytest.param("max_wait_us", True, id="bool-wait"),
        pytest.param("step_timeout_s", 0, id="no-time-for-a-step"),
        pytest.param("step_timeout_s", math.inf, id="endless-step"),
        pytest.param("step_timeout_s", None, id="no-timeout"),
        pytest.param("idle_s", 0, id="no-idle-time"),
        pytest.param("idle_s", math.nan, id="nan-idle-time"),
        pytest.param("nan", "ignore", id="unknown-nan-policy"),
        pytest.param("adaptive", 1, id="adaptive-as-number"),
        pytest.param("on_evict", "print", id="on-evict-as-text"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InputError) as caught:
        PoolOptions(**{name: value})
    assert caught.value.subject == f"PoolOptions.{name}"


def test_the_extremes_are_taken() -> None:
    options = PoolOptions(max_streams=1, max_batch=1, max_frames=1, max_queue=1, max_wait_us=0, idle_s=1e-9)
    assert options.max_wait_us == 0
    assert PoolOptions(idle_s=None, on_evict=print).idle_s is None
