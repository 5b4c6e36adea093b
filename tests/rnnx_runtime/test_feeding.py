"""Inputs whose sizes are expressions of one another."""

from typing import Any

import numpy as np
import pytest

from rnnx_runtime.contract import Contract, Dim, Source, StatePair, Streaming, TensorSpec
from rnnx_runtime.errors import InputError
from rnnx_runtime.feeding import Feeding


def _spec(name: str, *dims: Dim) -> TensorSpec:
    return TensorSpec(name=name, dtype="float32", dims=dims)


def _feeding(*inputs: TensorSpec, outputs: tuple[TensorSpec, ...] = (), states: tuple[StatePair, ...] = ()) -> Feeding:
    return Feeding(
        Contract(
            inputs=inputs,
            outputs=(_spec("output", "B"), *outputs),
            states=states,
            lengths=(),
            recurrent=(),
            streaming=Streaming(kind="no"),
            precision="float32",
            source=Source(file="", module="", weights_sha256=""),
        )
    )


def _zeros(*shape: int) -> Any:
    return np.zeros(shape, np.float32)


MASKED = _feeding(_spec("x", "B", "T", 8), _spec("mask", "B", "T + 1"))
UPSAMPLED = _feeding(_spec("wav", "B", "20*T - 80"), _spec("mel", "B", 80, "T"))
FRAMED = _feeding(_spec("wav", "B", "160*T"))


def test_sizes_that_fit_an_expression_are_taken() -> None:
    assert MASKED.feeds({"x": _zeros(2, 9, 8), "mask": _zeros(2, 10)}, None, None)["mask"].shape == (2, 10)
    assert UPSAMPLED.sizes({"wav": _zeros(2, 100), "mel": _zeros(2, 80, 9)}) == {"B": 2, "T": 9}
    assert FRAMED.sizes(_zeros(2, 480)) == {"B": 2, "T": 3}


@pytest.mark.parametrize(
    ("feeding", "inputs", "message"),
    [
        (
            MASKED,
            {"x": _zeros(2, 9, 8), "mask": _zeros(2, 9)},
            r"'mask': got 9 in axis 1, expected T \+ 1 = 10 with T=9",
        ),
        (
            UPSAMPLED,
            {"wav": _zeros(2, 20), "mel": _zeros(2, 80, 4)},
            r"got 20 in axis 1, expected 20\*T - 80 with T=4 for",
        ),
        (FRAMED, _zeros(2, 470), r"'wav': got 470 in axis 1, expected 160\*T for sizes from 1, in \(B, 160\*T\)"),
    ],
    ids=["another", "none-fits", "not-solved"],
)
def test_sizes_that_break_an_expression_are_refused(feeding: Feeding, inputs: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        feeding.feeds(inputs, None, None)


ROWS = _feeding(
    _spec("x", "B", "N", 4),
    _spec("h", 1, "B*N", 6),
    outputs=(_spec("hn", 1, "B*N", 6),),
    states=(StatePair(input="h", output="hn"),),
)


def test_a_state_of_a_calculated_size_starts_from_zeros() -> None:
    assert ROWS.feeds(_zeros(2, 5, 4), None, None)["h"].shape == (1, 10, 6)


def test_a_state_of_another_calculated_size_is_refused() -> None:
    assert ROWS.feeds(_zeros(2, 5, 4), {"h": _zeros(1, 10, 6)}, None)["h"].shape == (1, 10, 6)
    with pytest.raises(InputError, match=r"state 'h': got B\*N=8, expected B\*N=10, as in x"):
        ROWS.feeds(_zeros(2, 5, 4), {"h": _zeros(1, 8, 6)}, None)
