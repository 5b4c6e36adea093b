import dataclasses

import numpy as np
import pytest
from tests.contracts import changed, contract_of
from tests.whole_model import CONTRACT as WHOLE
from tests.whole_model import adder_outputs, example_of

from rnnx.parity.limits import EXACT, limit_of, root_mean_square
from rnnx.parity.tolerances import TOLERANCES
from rnnx.truths.cases import Case
from rnnx.truths.truth import CaseTruth
from rnnx_runtime.contract import DecoderPart, Source

CONTRACT = contract_of(
    form="encoder",
    cell="gru",
    input_size=6,
    hidden_size=10,
    projection_size=10,
    layers=1,
    directions=1,
    steps=None,
    batch_first=False,
    state_inputs=False,
    lengths=False,
    precision="float32",
    formulation="test",
    source=Source(file="", module="", weights_sha256=""),
)
ONE_STEP = TOLERANCES["float32"].floor(16, 1, 1.0)


def _entry(time: int, *, scale: float = 1.0, largest: float = 1.0, float32_error: float = 0.0) -> CaseTruth:
    feeds = {"x": np.full((time, 2, 6), scale, np.float32)}
    truth = {"hn": np.full((1, 2, 10), float(largest))}
    return CaseTruth(case=Case(name="", feeds=feeds), truth=truth, float32_error={"hn": float32_error})


@pytest.mark.parametrize(
    ("entry", "layers", "factor"),
    [
        (_entry(1), 1, 1),
        (_entry(16), 1, 4),
        (_entry(1, largest=30.0), 1, 30),
        (_entry(1, scale=30), 1, 30),
        (_entry(1, largest=0.01, scale=0.01), 1, 1),
    ],
    ids=["one-step", "sixteen-steps", "large-values", "large-inputs", "small-values"],
)
def test_the_floor_follows_steps_layers_and_magnitude(entry: CaseTruth, layers: int, factor: float) -> None:
    contract = changed(CONTRACT, layers=layers)
    assert limit_of(entry, "hn", contract, "float32") == pytest.approx(factor * ONE_STEP)


def test_layers_count_as_steps() -> None:
    deep = changed(CONTRACT, input_size=10, layers=4)
    assert limit_of(_entry(1), "hn", deep, "float32") == pytest.approx(TOLERANCES["float32"].floor(20, 4, 1.0))


def test_pytorchs_own_error_lifts_the_limit() -> None:
    assert limit_of(_entry(1, float32_error=1e-3), "hn", CONTRACT, "float32") == pytest.approx(4e-3)


def _whole_entry(output: str, value: float, time: int = 4, error: float = 0.0) -> CaseTruth:
    feeds = example_of(time)
    truth = {name: np.full_like(own, value) for name, own in adder_outputs(feeds).items()}
    return CaseTruth(case=Case(name="", feeds=feeds), truth=truth, float32_error={output: error})


def test_whole_numbers_of_a_whole_model_are_right_or_wrong() -> None:
    assert limit_of(_whole_entry("label", 3), "label", WHOLE, "float32") == EXACT < 1


def test_a_whole_models_floor_follows_its_steps_and_its_recurrent_layers() -> None:
    short, long = (limit_of(_whole_entry("output", 1, time), "output", WHOLE, "float32") for time in (4, 16))
    own = root_mean_square(example_of(4)["x"])
    assert short == pytest.approx(TOLERANCES["float32"].floor(6, 4, own))
    assert long == pytest.approx(TOLERANCES["float32"].floor(6, 16, root_mean_square(example_of(16)["x"])))
    twice = dataclasses.replace(WHOLE, recurrent=WHOLE.recurrent * 2)
    entry = _whole_entry("output", 1)
    assert limit_of(entry, "output", twice, "float32") == pytest.approx(2**0.5 * short)


def test_a_mask_of_huge_numbers_lifts_no_limit() -> None:
    plain, masked = (_whole_entry("output", 1) for _ in range(2))
    masked.truth["output"][0] = -1e9
    limits = [limit_of(entry, "output", WHOLE, "float32") for entry in (plain, masked)]
    assert limits[0] == pytest.approx(limits[1])


def test_pytorchs_own_error_lifts_a_whole_models_limit_too() -> None:
    assert limit_of(_whole_entry("hn", 1, error=1e-3), "hn", WHOLE, "float32") == pytest.approx(4e-3)


def test_a_time_that_is_fixed_counts_all_the_same() -> None:
    x, lengths, mask, h0 = WHOLE.inputs
    fixed = dataclasses.replace(
        WHOLE,
        inputs=(
            dataclasses.replace(x, dims=("B", 16, 3)),
            lengths,
            dataclasses.replace(mask, dims=("B", 16)),
            h0,
        ),
    )
    entry = _whole_entry("output", 1, time=16)
    assert limit_of(entry, "output", fixed, "float32") == limit_of(entry, "output", WHOLE, "float32")


def test_a_decoders_own_steps_are_steps() -> None:
    part = DecoderPart(
        form="unrolled",
        feed="argmax",
        steps=25,
        token=None,
        logits="output",
        tokens=None,
        context=(),
        start_token=None,
        end_token=None,
        pad_token=None,
    )
    decoder = dataclasses.replace(WHOLE, decoder=part)
    limits = [limit_of(_whole_entry("output", 1, time=1), "output", own, "float32") for own in (WHOLE, decoder)]
    assert limits[1] == pytest.approx(5 * limits[0])
