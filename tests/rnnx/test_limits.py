import dataclasses

import numpy as np
import pytest

from rnnx.cases import Case
from rnnx.limits import limit_of
from rnnx.tolerances import TOLERANCES
from rnnx.truth import CaseTruth
from rnnx_runtime import Contract
from rnnx_runtime.contract import Source

CONTRACT = Contract(
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
    truth = {"hn": np.full((1, 2, 10), largest)}
    return CaseTruth(case=Case(name="", feeds=feeds), truth=truth, float32_error={"hn": float32_error})


@pytest.mark.parametrize(
    ("entry", "layers", "factor"),
    [
        (_entry(1), 1, 1),
        (_entry(16), 1, 4),
        (_entry(1, largest=30), 1, 30),
        (_entry(1, scale=30), 1, 30),
        (_entry(1, largest=0.01, scale=0.01), 1, 1),
    ],
    ids=["one-step", "sixteen-steps", "large-values", "large-inputs", "small-values"],
)
def test_the_floor_follows_steps_layers_and_magnitude(entry: CaseTruth, layers: int, factor: float) -> None:
    contract = dataclasses.replace(CONTRACT, layers=layers)
    assert limit_of(entry, "hn", contract, "float32") == pytest.approx(factor * ONE_STEP)


def test_layers_count_as_steps() -> None:
    deep = dataclasses.replace(CONTRACT, input_size=10, layers=4)
    assert limit_of(_entry(1), "hn", deep, "float32") == pytest.approx(TOLERANCES["float32"].floor(20, 4, 1.0))


def test_pytorchs_own_error_lifts_the_limit() -> None:
    assert limit_of(_entry(1, float32_error=1e-3), "hn", CONTRACT, "float32") == pytest.approx(4e-3)
