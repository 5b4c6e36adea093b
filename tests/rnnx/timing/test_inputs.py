import numpy as np

from rnnx.timing.inputs import timing_feeds
from rnnx.truths.model_cases import CaseSource
from rnnx_runtime import Contract


def test_every_row_is_full(encoder_contract: Contract) -> None:
    feeds = timing_feeds(CaseSource(contract=encoder_contract, example={}), {"T": 7, "B": 3})
    np.testing.assert_array_equal(feeds["lengths"], [7, 7, 7])
    assert (feeds["x"].shape, feeds["h0"].shape) == ((7, 3, 5), (1, 3, 8))


def test_inputs_are_the_same_each_time(step_contract: Contract) -> None:
    inputs = CaseSource(contract=step_contract, example={})
    first, again = timing_feeds(inputs, {"B": 2}), timing_feeds(inputs, {"B": 2})
    assert set(first) == {"x", "h0", "c0"}
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])
