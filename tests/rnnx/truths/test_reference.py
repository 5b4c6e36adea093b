from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import rnnx
from rnnx import ExportOptions
from rnnx.truths.cases import random_feeds
from rnnx.truths.reference import evaluate
from rnnx.weights.torch_tensors import TorchCheckpoint
from rnnx.weights.weights import RecurrentWeights, choose_module, read_weights
from rnnx_runtime import Contract

Array = NDArray[Any]

SEED = 20268
LAYERS: dict[str, Any] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
CELLS: dict[str, Any] = {"lstm": nn.LSTMCell, "gru": nn.GRUCell, "rnn": nn.RNNCell}
VARIANTS = [
    pytest.param(
        *values, id=f"{values[0]}-{values[1]}-{'bi' if values[2] else 'uni'}-{'bias' if values[3] else 'plain'}"
    )
    for values in product(LAYERS, (1, 3), (False, True), (True, False))
]


def weights_of(module: nn.Module) -> RecurrentWeights:
    checkpoint = TorchCheckpoint("model", module.state_dict())
    return read_weights(checkpoint, choose_module(checkpoint, None))


def contract_of(module: nn.Module, folder: Path, **options: Any) -> Contract:
    return rnnx.export(module, folder / "model.onnx", ExportOptions(**options)).contract


def tensor(value: Array) -> torch.Tensor:
    return torch.from_numpy(value).double()


def assert_equal(actual: dict[str, Array], **expected: torch.Tensor) -> None:
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert actual[name].dtype == np.float64
        np.testing.assert_allclose(actual[name], value.numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("cell", "layers", "bidirectional", "bias"), VARIANTS)
@pytest.mark.parametrize("batch_first", [False, True], ids=["tbi", "bti"])
def test_an_encoder_equals_pytorch_in_float64(
    tmp_path: Path, cell: str, layers: int, bidirectional: bool, bias: bool, batch_first: bool
) -> None:
    torch.manual_seed(SEED)
    module = LAYERS[cell](3, 5, layers, bias=bias, bidirectional=bidirectional, batch_first=batch_first)
    contract, weights = contract_of(module, tmp_path, lengths=True), weights_of(module)
    module.double()
    for time, batch in ((1, 1), (2, 2), (9, 5)):
        feeds = random_feeds(contract.layer(), time, batch, SEED)
        states = tuple(tensor(feeds[name]) for name in ("h0", "c0") if name in feeds)
        lengths = torch.from_numpy(feeds["lengths"]).long()
        packed = pack_padded_sequence(tensor(feeds["x"]), lengths, batch_first=batch_first, enforce_sorted=False)
        with torch.no_grad():
            output, last = module(packed, states if cell == "lstm" else states[0])
        padded, _ = pad_packed_sequence(output, batch_first=batch_first, total_length=time)
        expected = {"hn": last[0], "cn": last[1]} if cell == "lstm" else {"hn": last}
        assert_equal(evaluate(weights, contract.layer(), feeds), output=padded, **expected)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "plain"])
@pytest.mark.parametrize("steps", [None, 4], ids=["step", "unrolled-4"])
def test_a_cell_equals_pytorch_in_float64(tmp_path: Path, cell: str, bias: bool, steps: int | None) -> None:
    torch.manual_seed(SEED)
    module = CELLS[cell](3, 5, bias=bias)
    contract = contract_of(module, tmp_path, form="unrolled" if steps else "step", steps=steps)
    weights, feeds = weights_of(module), random_feeds(contract.layer(), steps or 1, 3, SEED)
    module.double()
    state: Any = (tensor(feeds["h0"]), tensor(feeds["c0"])) if cell == "lstm" else tensor(feeds["h0"])
    outputs = []
    with torch.no_grad():
        for now in tensor(feeds["x"]) if steps else tensor(feeds["x"])[None]:
            state = module(now, state)
            outputs.append(state[0] if cell == "lstm" else state)
    expected = {"hn": state[0], "cn": state[1]} if cell == "lstm" else {"hn": state}
    if steps:
        expected["output"] = torch.stack(outputs)
    assert_equal(evaluate(weights, contract.layer(), feeds), **expected)


@pytest.mark.parametrize("cell", LAYERS)
def test_states_and_lengths_left_out_are_zeros_and_the_whole_time(tmp_path: Path, cell: str) -> None:
    torch.manual_seed(SEED)
    module = LAYERS[cell](3, 5, 2)
    contract, weights = contract_of(module, tmp_path), weights_of(module)
    x = random_feeds(contract.layer(), 4, 2, SEED)["x"]
    with torch.no_grad():
        output, last = module.double()(tensor(x))
    expected = {"hn": last[0], "cn": last[1]} if cell == "lstm" else {"hn": last}
    assert_equal(evaluate(weights, contract.layer(), {"x": x}), output=output, **expected)


def test_every_operation_is_in_the_asked_precision(tmp_path: Path) -> None:
    module = nn.LSTM(3, 5)
    contract, weights = contract_of(module, tmp_path), weights_of(module)
    feeds = random_feeds(contract.layer(), 4, 2, SEED)
    assert {value.dtype.name for value in evaluate(weights, contract.layer(), feeds, np.float32).values()} == {
        "float32"
    }


def test_large_gate_sums_saturate_without_a_warning(tmp_path: Path) -> None:
    module = nn.LSTM(3, 5)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1e4)
    contract, weights = contract_of(module, tmp_path), weights_of(module)
    values = evaluate(weights, contract.layer(), random_feeds(contract.layer(), 4, 2, SEED))
    assert all(np.isfinite(value).all() for value in values.values())


@pytest.mark.parametrize("bidirectional", [False, True], ids=["uni", "bi"])
def test_a_projection_narrows_h_and_not_c(tmp_path: Path, bidirectional: bool) -> None:
    torch.manual_seed(SEED)
    module = nn.LSTM(3, 5, 2, proj_size=2, bidirectional=bidirectional)
    contract, weights = contract_of(module, tmp_path), weights_of(module)
    feeds = random_feeds(contract.layer(), 4, 3, SEED)
    with torch.no_grad():
        output, (h, c) = module.double()(tensor(feeds["x"]), (tensor(feeds["h0"]), tensor(feeds["c0"])))
    assert h.shape[-1] < c.shape[-1]
    assert_equal(evaluate(weights, contract.layer(), feeds), output=output, hn=h, cn=c)


def test_a_plain_rnn_applies_its_own_nonlinearity(tmp_path: Path) -> None:
    torch.manual_seed(SEED)
    module = nn.RNN(3, 5, nonlinearity="relu")
    contract, weights = contract_of(module, tmp_path), weights_of(module)
    feeds = random_feeds(contract.layer(), 4, 3, SEED)
    with torch.no_grad():
        output, h = module.double()(tensor(feeds["x"]), tensor(feeds["h0"]))
    assert_equal(evaluate(weights, contract.layer(), feeds), output=output, hn=h)
