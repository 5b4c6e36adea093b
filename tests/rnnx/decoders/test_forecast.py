"""The forecast of an unrolled decoder."""

import json
from pathlib import Path

import pytest
from tests.rnnx.decoders.small_decoders import part_of

from rnnx.decoders.decoder_options import DecoderOptions
from rnnx.decoders.forecast import LONGEST_BUILD_S, build_seconds, check_forecast, forecast, plan_size
from rnnx.decoders.step_graph import StepGraph
from rnnx.decoders.unrolled_decoder import unrolled_graph
from rnnx.errors import OptionError

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results" / "decoder_forecast.json"
UNROLLED = {"form": "unrolled", "logits": "logits"}


@pytest.mark.parametrize("steps", [1, 2, 5, 40])
@pytest.mark.parametrize("end", [None, 3])
def test_the_count_of_nodes_is_exact(step: StepGraph, steps: int, end: int | None) -> None:
    part = part_of(**UNROLLED, steps=steps, end_token=end)
    assert forecast(step, part).nodes == len(unrolled_graph(step, part).nodes)


def test_a_decoder_that_would_take_long_to_build_is_refused_with_its_forecast(step: StepGraph) -> None:
    part = part_of(**UNROLLED, steps=2000)
    expected = forecast(step, part)
    assert expected.build_s > LONGEST_BUILD_S
    options = DecoderOptions(form="unrolled", steps=2000)
    with pytest.raises(
        OptionError, match=rf"an unrolled decoder of 2000 steps: got a forecast of {expected.nodes} nod"
    ):
        check_forecast(expected, options)
    check_forecast(expected, DecoderOptions(form="unrolled", steps=2000, allow_large=True))
    check_forecast(forecast(step, part_of(**UNROLLED, steps=20)), options)


def test_the_forecast_is_near_what_was_measured() -> None:
    """Time within a factor of two, the plan within a third, on every decoder that the fit was made from."""
    for own in json.loads(RESULTS.read_text())["builds"]:
        nodes, weights = own["nodes"], own["weights_bytes"]
        assert 0.5 <= build_seconds(nodes) / own["cpu_s"] <= 2.0
        assert 0.67 <= plan_size(nodes, weights) / own["plan_bytes"] <= 1.5
