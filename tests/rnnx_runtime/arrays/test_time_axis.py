from dataclasses import replace

from tests.whole_model import CONTRACT

from rnnx_runtime.arrays.time_axis import why_no_next_step
from rnnx_runtime.contract import TensorSpec


def test_an_input_that_is_longer_than_the_frames_has_no_next_step() -> None:
    start = TensorSpec(name="start", dtype="float32", dims=("B", "T + 1"))
    reason = why_no_next_step(replace(CONTRACT, inputs=(*CONTRACT.inputs, start)))
    assert reason == "an input 'start' (B, T + 1), of which a frame of the others has no part of its own"


def test_a_size_that_follows_another_axis_is_no_obstacle() -> None:
    memory = (
        TensorSpec(name="memory", dtype="float32", dims=("B", "S", 2)),
        TensorSpec(name="seen", dtype="bool", dims=("B", "S + 1")),
    )
    assert why_no_next_step(replace(CONTRACT, inputs=(*CONTRACT.inputs, *memory))) == ""
