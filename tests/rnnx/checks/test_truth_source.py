from typing import Any

import numpy as np
import pytest

from rnnx.checks import truth_source
from rnnx.checks.truth_source import source_from_weights
from rnnx.truths.cases import case_at
from rnnx.truths.torch_reference import TorchReference


@pytest.mark.parametrize("installed", [True, False], ids=["torch", "numpy"])
def test_both_precisions_are_those_of_the_weights(lstm: Any, monkeypatch: Any, installed: bool) -> None:
    if not installed:
        monkeypatch.setattr(truth_source, "find_spec", lambda name: None)
    source = source_from_weights(lstm.weights, lstm.contract)
    case = case_at(lstm.contract, 6, 3)
    double, single, expected = source.double(case), source.single(case), lstm.source().double(case)
    assert isinstance(getattr(source.double, "__self__", None), TorchReference) is installed
    for name, value in expected.items():
        assert [double[name].dtype.name, single[name].dtype.name] == ["float64", "float32"]
        np.testing.assert_allclose(double[name], value, rtol=0, atol=1e-13)
        np.testing.assert_allclose(single[name], value, rtol=0, atol=1e-6)


def test_the_float32_error_is_the_largest_of_each_output(lstm: Any) -> None:
    source, case = lstm.source(), case_at(lstm.contract, 6, 3)
    errors = source.float32_error(case)
    assert errors.keys() == {"output", "hn", "cn"}
    assert errors["cn"] == np.abs(source.single(case)["cn"] - source.double(case)["cn"]).max()
    assert all(0 < error < 1e-6 for error in errors.values())
