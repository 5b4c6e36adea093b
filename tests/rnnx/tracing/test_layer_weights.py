import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from rnnx.errors import CheckpointError, WeightsError
from rnnx.tracing.layer_weights import effective_tensors, module_of_layer, recurrence_of_layer, weights_from_layer

SEED = 20267


def _old_weight_norm(layer: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # deprecated, and in many a model
        return nn.utils.weight_norm(layer, "weight_hh_l0")


def _tied(layer: nn.Module) -> nn.Module:
    layer.weight_hh_l1 = layer.weight_hh_l0
    return layer


CHANGES: dict[str, Any] = {
    "weight-norm": lambda layer: parametrizations.weight_norm(layer, "weight_hh_l0"),
    "weight-norm-of-old": _old_weight_norm,
    "spectral-norm": lambda layer: parametrizations.spectral_norm(layer, "weight_hh_l0"),
    "pruned": lambda layer: prune.random_unstructured(layer, "weight_hh_l0", 0.5),  # type: ignore[no-untyped-call]
    "tied": _tied,
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_weights_are_those_that_the_next_call_uses(change: str) -> None:
    torch.manual_seed(SEED)
    layer: nn.GRU = CHANGES[change](nn.GRU(5, 8, 2)).eval()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(1.25)  # what a cached value has not seen
    weights = weights_from_layer(layer, "rnn")
    layer(torch.zeros(1, 1, 5))
    for number in (0, 1):
        expected = getattr(layer, f"weight_hh_l{number}").detach().numpy()
        np.testing.assert_array_equal(weights.directions[number][0].w_hh, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_every_float_becomes_float32(dtype: torch.dtype) -> None:
    layer = nn.LSTM(5, 8, proj_size=3).to(dtype)
    ((own,),) = weights_from_layer(layer, "rnn").directions
    assert own.w_hr is not None
    assert {own.w_ih.dtype, own.w_hr.dtype} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(own.w_hr, layer.get_parameter("weight_hr_l0").detach().float().numpy())


@pytest.mark.parametrize("layer", [nn.LSTM(5, 8, proj_size=3), nn.RNNCell(5, 8, bias=False)], ids=["lstm", "cell"])
def test_a_layer_has_the_sizes_that_its_state_dict_has(layer: nn.Module) -> None:
    module = module_of_layer(layer, "encoder.rnn")
    assert module.prefix == "encoder.rnn"
    assert module.parameters == sum(parameter.numel() for parameter in layer.parameters())


def test_a_contract_says_what_the_layer_alone_knows() -> None:
    layer = nn.RNN(5, 8, 2, nonlinearity="relu", batch_first=True, bidirectional=True)
    contract = recurrence_of_layer(layer, "encoder.rnn", state_inputs=False, lengths=True)
    assert (contract.form, contract.cell, contract.nonlinearity, contract.formulation) == (
        "encoder", "rnn", "relu", "fused"
    )  # fmt: skip
    assert (contract.layers, contract.directions, contract.batch_first) == (2, 2, True)
    assert (contract.state_inputs, contract.lengths, contract.name) == (False, True, "encoder.rnn")


def test_a_cells_contract_is_a_steps() -> None:
    contract = recurrence_of_layer(nn.LSTMCell(5, 8), "cell", state_inputs=True, lengths=False)
    assert (contract.form, contract.cell, contract.nonlinearity) == ("step", "lstm", None)


def test_a_value_that_is_not_a_number_is_refused_by_its_place() -> None:
    layer = nn.GRU(5, 8)
    with torch.no_grad():
        layer.get_parameter("weight_hh_l0")[0, 0] = torch.nan
    with pytest.raises(WeightsError, match=r"key 'encoder.rnn.weight_hh_l0' of GRU: got 1 of 192 values NaN or Inf"):
        weights_from_layer(layer, "encoder.rnn")


def test_weights_without_values_are_refused() -> None:
    with pytest.raises(CheckpointError, match="a tensor on the meta device"):
        weights_from_layer(nn.GRU(5, 8, device="meta"), "rnn")


@pytest.mark.parametrize("change", ["weight-norm", "weight-norm-of-old", "pruned"])
def test_a_models_tensors_have_the_layers_own_keys_alone(change: str) -> None:
    model = nn.ModuleDict({"rnn": CHANGES[change](nn.GRU(5, 8)), "head": nn.Linear(8, 2)})
    tensors = effective_tensors(model)
    own = [f"rnn.{name}_l0" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    assert sorted(tensors) == sorted([*own, "head.weight", "head.bias"])


def test_a_bare_layers_tensors_are_its_own() -> None:
    layer = nn.LSTM(5, 8, proj_size=3)
    assert effective_tensors(layer).keys() == layer.state_dict().keys()
