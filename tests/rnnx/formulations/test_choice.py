import pytest
from torch import nn

from rnnx.formulations.choice import formulation_name, formulation_named
from rnnx.tracing.layer_weights import module_of_layer
from rnnx_runtime.contract import Form


@pytest.mark.parametrize(
    ("layer", "form", "name"),
    [
        pytest.param(nn.LSTM(2, 4), "encoder", "fused", id="lstm"),
        pytest.param(nn.RNN(2, 4), "encoder", "fused", id="rnn"),
        pytest.param(nn.LSTM(2, 4, proj_size=3), "encoder", "scan", id="projected-lstm"),
        pytest.param(nn.GRUCell(2, 4), "step", "gemm-gates", id="step"),
        pytest.param(nn.GRUCell(2, 4), "unrolled", "unrolled-hoisted", id="unrolled"),
    ],
)
def test_a_formulation_is_chosen_and_found_by_its_name(layer: nn.Module, form: Form, name: str) -> None:
    assert formulation_name(module_of_layer(layer, ""), form) == name
    module = __import__(formulation_named(name).__module__, fromlist=["NAME"])
    assert name == module.NAME
