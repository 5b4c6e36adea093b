from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from rnnx.errors import CheckpointError, OptionError, WeightsError
from rnnx.weights.named_tensors import TensorInfo
from rnnx.weights.torch_tensors import TorchCheckpoint
from rnnx.weights.weights import choose_module, onnx_gates, read_weights

SEED = 20267


class ArrayCheckpoint:
    """A checkpoint of NumPy arrays."""

    name = "model.safetensors"

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.arrays = arrays
        self.tensors = {k: TensorInfo(shape=v.shape, dtype=v.dtype.name) for k, v in arrays.items()}

    def read(self, key: str) -> NDArray[Any]:
        return self.arrays[key]


def checkpoint_of(module: nn.Module) -> TorchCheckpoint:
    return TorchCheckpoint("model.pt", module.state_dict())


def arrays_of(module: nn.Module) -> dict[str, NDArray[Any]]:
    return {key: value.numpy().copy() for key, value in module.state_dict().items()}


SEVERAL = nn.ModuleDict(
    {
        "encoder": nn.ModuleDict({"rnn": nn.LSTM(2, 3)}),
        "decoder": nn.ModuleDict({"rnn": nn.GRU(2, 3)}),
        "cell": nn.GRUCell(2, 3),
    }
)


def test_the_only_module_needs_no_prefix() -> None:
    assert choose_module(checkpoint_of(nn.LSTM(2, 3)), None).prefix == ""
    assert choose_module(checkpoint_of(nn.ModuleDict({"a": nn.LSTM(2, 3)})), None).prefix == "a"


@pytest.mark.parametrize(
    ("prefix", "chosen"),
    [("encoder.rnn", "encoder.rnn"), ("decoder.rnn", "decoder.rnn"), ("cell", "cell")],
)
def test_a_prefix_chooses(prefix: str, chosen: str) -> None:
    assert choose_module(checkpoint_of(SEVERAL), prefix).prefix == chosen


def test_a_unique_dotted_ending_chooses() -> None:
    model = nn.ModuleDict({"model": SEVERAL})
    assert choose_module(checkpoint_of(model), "encoder.rnn").prefix == "model.encoder.rnn"
    assert choose_module(checkpoint_of(model), "cell").prefix == "model.cell"


def test_an_exact_prefix_wins_over_an_ending() -> None:
    model = nn.ModuleDict({"rnn": nn.LSTM(2, 3), "encoder": nn.ModuleDict({"rnn": nn.LSTM(2, 3)})})
    assert choose_module(checkpoint_of(model), "rnn").prefix == "rnn"


@pytest.mark.parametrize("prefix", ["", "(root)"])
def test_the_root_is_chosen_as_it_is_listed(prefix: str) -> None:
    root = TorchCheckpoint(
        "model.pt", {**nn.LSTM(2, 3).state_dict(), **nn.ModuleDict({"a": nn.GRU(2, 3)}).state_dict()}
    )
    assert choose_module(root, prefix).type_name == "nn.LSTM"


@pytest.mark.parametrize(
    ("prefix", "got"),
    [
        pytest.param(None, "none", id="none"),
        pytest.param("rnn", "'rnn'", id="ambiguous"),
        pytest.param("nn", "'nn'", id="no-dotted-ending"),
        pytest.param("encoder", "'encoder'", id="a-parent"),
        pytest.param("", "''", id="no-root"),
    ],
)
def test_no_single_choice_lists_all(prefix: str | None, got: str) -> None:
    with pytest.raises(OptionError) as caught:
        choose_module(checkpoint_of(SEVERAL), prefix)
    assert str(caught.value) == (
        f"module for model.pt: got {got}, expected one of encoder.rnn (nn.LSTM), decoder.rnn (nn.GRU), "
        "cell (nn.GRUCell); name one as the module; rnnx inspect lists them"
    )


def test_an_unknown_prefix_is_refused_even_when_there_is_one_module() -> None:
    with pytest.raises(OptionError, match=r"got 'encoder', expected one of \(root\) \(nn\.LSTM\)"):
        choose_module(checkpoint_of(nn.LSTM(2, 3)), "encoder")


def test_a_checkpoint_without_a_recurrent_layer_lists_its_keys() -> None:
    with pytest.raises(CheckpointError) as caught:
        choose_module(checkpoint_of(nn.Linear(2, 3)), None)
    assert str(caught.value) == (
        "model.pt: got only the keys weight, bias, expected keys of a recurrent layer such as 'weight_ih_l0'; "
        "give the checkpoint that holds the nn.LSTM, nn.GRU or nn.RNN, without weight norm"
    )
    many = nn.Sequential(*[nn.Linear(2, 2) for _ in range(10)])
    with pytest.raises(CheckpointError, match=r"only the keys 0\.weight, .*, 3\.bias and 12 more, expected"):
        choose_module(checkpoint_of(many), None)
    with pytest.raises(CheckpointError, match="got no tensors at all, expected"):
        choose_module(TorchCheckpoint("model.pt", {}), None)


def read(checkpoint: Any) -> Any:
    return read_weights(checkpoint, choose_module(checkpoint, None))


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "plain"])
def test_weights_are_read_by_layer_and_direction(bias: bool) -> None:
    module = nn.GRU(2, 3, 2, bias=bias, bidirectional=True)
    weights = read(checkpoint_of(module))
    arrays = arrays_of(module)
    assert [len(directions) for directions in weights.directions] == [2, 2]
    for layer, directions in enumerate(weights.directions):
        for own, suffix in zip(directions, ("", "_reverse"), strict=True):
            np.testing.assert_array_equal(own.w_ih, arrays[f"weight_ih_l{layer}{suffix}"])
            np.testing.assert_array_equal(own.w_hh, arrays[f"weight_hh_l{layer}{suffix}"])
            if bias:
                np.testing.assert_array_equal(own.b_ih, arrays[f"bias_ih_l{layer}{suffix}"])
                np.testing.assert_array_equal(own.b_hh, arrays[f"bias_hh_l{layer}{suffix}"])
            else:
                assert own.b_ih is own.b_hh is None


def test_the_digest_is_of_the_values_and_nothing_else() -> None:
    torch.manual_seed(SEED)
    arrays = arrays_of(nn.LSTM(2, 3, 2))
    digest = read(ArrayCheckpoint(arrays)).sha256
    assert read(ArrayCheckpoint({f"a.b.{key}": value for key, value in arrays.items()})).sha256 == digest
    assert read(ArrayCheckpoint(dict(reversed(arrays.items())))).sha256 == digest
    assert read(ArrayCheckpoint({key: value.astype(np.float64) for key, value in arrays.items()})).sha256 == digest
    assert read(ArrayCheckpoint({key: np.asfortranarray(value) for key, value in arrays.items()})).sha256 == digest
    for key in arrays:
        changed = {**arrays, key: np.nextafter(arrays[key], np.float32(9))}
        assert read(ArrayCheckpoint(changed)).sha256 != digest


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("key", ["weight_ih_l0", "weight_hh_l1", "bias_hh_l0"])
def test_values_that_are_not_finite_are_refused(key: str, value: float) -> None:
    arrays = arrays_of(nn.LSTM(2, 3, 2))
    arrays[key].flat[[0, -1]] = value
    with pytest.raises(WeightsError) as caught:
        read(ArrayCheckpoint(arrays))
    assert str(caught.value) == (
        f"key {key!r} of model.safetensors: got 2 of {arrays[key].size} values NaN or Inf, expected finite float32 "
        "values; the training diverged or the file is damaged: use an earlier checkpoint"
    )


def test_values_too_large_for_float32_are_refused() -> None:
    arrays = {key: value.astype(np.float64) for key, value in arrays_of(nn.LSTM(2, 3)).items()}
    arrays["bias_ih_l0"][4] = 1e39
    with pytest.raises(
        WeightsError, match=r"key 'bias_ih_l0' of .*: got 1 of 12 values too large for float32, expected"
    ):
        read(ArrayCheckpoint(arrays))


@pytest.mark.parametrize(
    "dtype",
    [torch.int8, torch.uint8, torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn],
    ids=lambda dtype: str(dtype).removeprefix("torch."),
)
def test_weights_that_are_no_plain_floats_are_refused(dtype: torch.dtype) -> None:
    tensors = {key: value.to(dtype) for key, value in nn.LSTM(2, 3).state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        read(TorchCheckpoint("model.pt", tensors))
    assert str(caught.value) == (
        f"key 'weight_ih_l0' of model.pt: got {str(dtype).removeprefix('torch.')}, "
        "expected float16, bfloat16, float32, float64; give the checkpoint from before quantization"
    )


def test_gates_go_into_onnx_order() -> None:
    lstm = np.repeat(np.array(list("ifgo")), 2)[:, np.newaxis]
    assert "".join(onnx_gates("lstm", lstm)[:, 0]) == "iiooffgg"
    gru = np.repeat(np.array(list("rzn")), 2)
    assert "".join(onnx_gates("gru", gru)) == "zzrrnn"
