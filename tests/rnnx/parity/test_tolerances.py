from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.contracts import recurrence_of
from torch import nn

from rnnx.errors import OptionError
from rnnx.parity.tolerances import TOLERANCES, products_per_sum, tolerance_for
from rnnx_runtime import Recurrence
from rnnx_runtime.contract import Source

FLOAT32 = TOLERANCES["float32"]


def _contract(layers: int, directions: int) -> Recurrence:
    return recurrence_of(
        form="encoder",
        cell="lstm",
        input_size=10,
        hidden_size=8,
        projection_size=8,
        layers=layers,
        directions=directions,
        steps=None,
        batch_first=False,
        state_inputs=True,
        lengths=False,
        precision="float32",
        formulation="test",
        source=Source(file="", module="", weights_sha256=""),
    )


@pytest.mark.parametrize("precision", TOLERANCES)
def test_every_line_says_its_reason_and_its_rule(precision: str) -> None:
    tolerance = tolerance_for(precision)
    assert len(tolerance.reason) > 100
    assert (f"{tolerance.ratio:g} ×" in tolerance.rule) is (tolerance.ratio > 0)
    assert ("√(T·L)" in tolerance.rule) is tolerance.accumulates
    assert f"2^-{tolerance.bits}" in tolerance.rule


def test_unknown_precision_names_the_known_ones() -> None:
    with pytest.raises(OptionError, match="float32 or tf32 or float16 or bfloat16 or int8"):
        tolerance_for("float8")


def test_the_limit_is_the_larger_of_ratio_and_floor() -> None:
    floor = FLOAT32.floor(products=16, depth=1, magnitude=1)
    assert floor == 8 * 2**-24
    assert FLOAT32.limit(0.0, 16, 1, 1) == floor
    assert FLOAT32.limit(1e-3, 16, 1, 1) == 4e-3


@pytest.mark.parametrize(("precision", "growth"), [("float32", 10), ("float16", 10), ("int8", 1)])
def test_the_floor_grows_with_the_root_of_the_steps_where_errors_accumulate(precision: str, growth: float) -> None:
    tolerance = TOLERANCES[precision]
    assert tolerance.floor(16, 100, 1) == pytest.approx(growth * tolerance.floor(16, 1, 1))


def test_the_floor_follows_large_values_and_never_small_ones() -> None:
    assert FLOAT32.floor(16, 1, 20.0) == 20 * FLOAT32.floor(16, 1, 1.0)
    assert FLOAT32.floor(16, 1, 0.01) == FLOAT32.floor(16, 1, 1.0)


@pytest.mark.parametrize(
    ("layers", "directions", "products"),
    [(1, 1, 18), (1, 2, 18), (2, 1, 18), (2, 2, 24)],
    ids=["1", "1-bi", "2", "2-bi"],
)
def test_products_are_those_of_the_longest_sum(layers: int, directions: int, products: int) -> None:
    assert products_per_sum(_contract(layers, directions)) == products


def _tf32(values: NDArray[Any]) -> NDArray[np.float32]:
    """Round to nearest even at 10 explicit mantissa bits, as tensor cores read their operands."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0xFFF) + ((bits >> np.uint32(13)) & np.uint32(1))) & np.uint32(0xFFFFE000)
    return rounded.view(np.float32)


@pytest.mark.parametrize("hidden", [8, 64, 256])
def test_a_tf32_evaluation_passes_as_tf32_and_fails_as_float32(hidden: int) -> None:
    torch.manual_seed(hidden)
    cell = nn.LSTMCell(hidden, hidden)
    double = nn.LSTMCell(hidden, hidden, dtype=torch.float64)
    double.load_state_dict(cell.state_dict())
    weights = {name: value.numpy() for name, value in cell.state_dict().items()}
    x = torch.randn(20, 3, hidden)
    with torch.inference_mode():
        single_state = (torch.zeros(3, hidden), torch.zeros(3, hidden))
        truth_state = (single_state[0].double(), single_state[1].double())
        h, c = (np.asarray(state) for state in single_state)
        for now in x:
            single_state, truth_state = cell(now, single_state), double(now.double(), truth_state)
            sums = _tf32(now.numpy()) @ _tf32(weights["weight_ih"]).T + _tf32(h) @ _tf32(weights["weight_hh"]).T
            i, f, g, o = np.split(sums + weights["bias_ih"] + weights["bias_hh"], 4, axis=-1)
            c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
            h = _sigmoid(o) * np.tanh(c)
    truth = truth_state[0].numpy()
    error, float32_error = (float(np.abs(value - truth).max()) for value in (h, single_state[0].numpy()))
    assert error <= TOLERANCES["tf32"].limit(float32_error, 2 * hidden, 20, 1)
    assert error > FLOAT32.limit(float32_error, 2 * hidden, 20, 1)


def _sigmoid(values: NDArray[Any]) -> NDArray[Any]:
    result: NDArray[Any] = 1 / (1 + np.exp(-values))
    return result
