import dataclasses
from itertools import product
from typing import Any

import pytest
import torch
from torch import nn

from rnnx.errors import WeightsError
from rnnx.weights.named_tensors import TensorInfo
from rnnx.weights.recurrence import RecurrentModule, survey_recurrent_modules

Tensors = dict[str, TensorInfo]


def sound_modules(tensors: Tensors) -> list[RecurrentModule]:
    """All modules found, where none may be broken."""
    survey = survey_recurrent_modules(tensors)
    for error in survey.broken.values():
        raise error
    return list(survey.modules)


def infos(module: nn.Module) -> Tensors:
    return {
        key: TensorInfo(shape=tuple(value.shape), dtype=str(value.dtype).removeprefix("torch."))
        for key, value in module.state_dict().items()
    }


def info(*shape: int) -> TensorInfo:
    return TensorInfo(shape=shape, dtype="float32")


def only(module: nn.Module) -> RecurrentModule:
    (found,) = sound_modules(infos(module))
    return found


LAYERS: dict[str, Any] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
CELLS: dict[str, Any] = {"lstm": nn.LSTMCell, "gru": nn.GRUCell, "rnn": nn.RNNCell}


@pytest.mark.parametrize(
    ("kind", "layers", "bidirectional", "bias"),
    [
        pytest.param(
            *values, id=f"{values[0]}-{values[1]}-{'bi' if values[2] else 'uni'}-{'bias' if values[3] else 'plain'}"
        )
        for values in product(LAYERS, (1, 3), (False, True), (True, False))
    ],
)
def test_a_layer_is_known_by_its_keys_and_shapes(kind: str, layers: int, bidirectional: bool, bias: bool) -> None:
    module = LAYERS[kind](7, 5, layers, bias=bias, bidirectional=bidirectional)
    found = only(module)
    assert (found.kind, found.is_cell, found.type_name) == (kind, False, f"nn.{kind.upper()}")
    assert (found.input_size, found.hidden_size, found.projection_size) == (7, 5, 5)
    assert (found.layers, found.directions, found.bias) == (layers, 1 + bidirectional, bias)
    assert (found.prefix, found.shown_prefix, found.dtype) == ("", "(root)", "float32")
    assert found.parameters == sum(parameter.numel() for parameter in module.parameters())
    keys = {key for layer in range(layers) for d in range(found.directions) for key in found.keys(layer, d).values()}
    assert keys == set(module.state_dict())


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "plain"])
def test_a_cell_is_known_by_its_keys_and_shapes(kind: str, bias: bool) -> None:
    module = CELLS[kind](7, 5, bias=bias)
    found = only(module)
    assert (found.type_name, found.is_cell, found.layers, found.directions) == (f"nn.{kind.upper()}Cell", True, 1, 1)
    assert (found.input_size, found.hidden_size, found.bias) == (7, 5, bias)
    assert set(found.keys(0, 0).values()) == set(module.state_dict())


def test_an_input_as_wide_as_the_gates_confuses_nothing() -> None:
    assert (only(nn.LSTM(16, 4)).kind, only(nn.GRU(12, 12)).kind, only(nn.GRU(1, 1)).kind) == ("lstm", "gru", "gru")


def test_a_projection_is_known() -> None:
    module = nn.LSTM(7, 5, 2, proj_size=3, bidirectional=True)
    found = only(module)
    assert (found.hidden_size, found.projection_size) == (5, 3)
    assert found.parameters == sum(parameter.numel() for parameter in module.parameters())


def test_modules_are_found_under_their_prefixes_in_order() -> None:
    model = nn.ModuleDict(
        {"decoder": nn.ModuleDict({"cell": nn.GRUCell(2, 3)}), "head": nn.Linear(3, 1), "encoder": nn.LSTM(2, 3)}
    )
    found = sound_modules(infos(model))
    assert [(module.prefix, module.type_name) for module in found] == [
        ("decoder.cell", "nn.GRUCell"),
        ("encoder", "nn.LSTM"),
    ]


@pytest.mark.parametrize("module", [nn.Linear(2, 3), nn.Embedding(4, 2), nn.MultiheadAttention(4, 2)])
def test_other_layers_are_passed_over(module: nn.Module) -> None:
    assert sound_modules(infos(module)) == []


def test_the_dtype_is_the_recurrent_weights() -> None:
    assert only(nn.LSTM(2, 3).to(torch.bfloat16)).dtype == "bfloat16"


def changed(tensors: Tensors, **changes: TensorInfo | None) -> Tensors:
    merged: dict[str, TensorInfo | None] = {**tensors, **changes}
    return {key: value for key, value in merged.items() if value is not None}


TWO_BI = infos(nn.LSTM(7, 5, 2, bidirectional=True))
PROJECTED = infos(nn.LSTM(7, 5, proj_size=3))
CELL = infos(nn.GRUCell(7, 5))
LEFTOVER = "expected keys of consecutive layers and directions"


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        pytest.param(
            changed(TWO_BI, weight_hh_l0=None), "'weight_hh_l0': got no such key, expected a matrix", id="no-recurrent"
        ),
        pytest.param(
            changed(TWO_BI, weight_hh_l0=info(20)),
            "'weight_hh_l0': got (20,), expected a matrix",
            id="recurrent-vector",
        ),
        pytest.param(
            changed(TWO_BI, weight_ih_l0=info(20, 7, 1)),
            "'weight_ih_l0': got (20, 7, 1), expected a matrix",
            id="rank-3",
        ),
        pytest.param(
            changed(TWO_BI, weight_ih_l0=info(20, 0)), "'weight_ih_l0': got (20, 0), expected a matrix", id="no-input"
        ),
        pytest.param(
            changed(TWO_BI, weight_hh_l0=info(0, 0)), "'weight_hh_l0': got (0, 0), expected a matrix", id="no-hidden"
        ),
        pytest.param(
            changed(TWO_BI, weight_hh_l0=info(10, 5)),
            "'weight_hh_l0': got (10, 5), expected 4 (LSTM), 3 (GRU) or 1 (RNN) times 5 rows",
            id="two-gates",
        ),
        pytest.param(
            changed(TWO_BI, weight_ih_l0=info(15, 7)), "'weight_ih_l0': got (15, 7), expected (20, 7)", id="input-rows"
        ),
        pytest.param(
            changed(TWO_BI, weight_ih_l1=info(20, 5)),
            "'weight_ih_l1': got (20, 5), expected (20, 10)",
            id="layer-width",
        ),
        pytest.param(
            changed(TWO_BI, weight_ih_l1_reverse=None),
            "'weight_ih_l1_reverse': got no such key, expected (20, 10)",
            id="no-reverse",
        ),
        pytest.param(
            changed(TWO_BI, weight_ih_l0_reverse=None),
            "'weight_ih_l1': got (20, 10), expected (20, 5)",
            id="no-first-reverse",
        ),
        pytest.param(changed(TWO_BI, bias_hh_l0=info(15)), "'bias_hh_l0': got (15,), expected (20,)", id="bias-size"),
        pytest.param(
            changed(TWO_BI, bias_hh_l1=None), "'bias_hh_l1': got no such key, expected (20,)", id="bias-missing"
        ),
        pytest.param(
            changed(TWO_BI, bias_ih_l0=None),
            f"'bias_hh_l0': got a key that fits no layer, {LEFTOVER}",
            id="bias-half",
        ),
        pytest.param(
            {**TWO_BI, "weight_ih_l3": info(20, 10)},
            f"'weight_ih_l3': got a key that fits no layer, {LEFTOVER}",
            id="gap-in-layers",
        ),
        pytest.param(
            {**TWO_BI, "weight_hh_l0_mask": info(20, 5)},
            f"'weight_hh_l0_mask': got a key that fits no layer, {LEFTOVER}",
            id="pruning-mask",
        ),
        pytest.param(
            changed(PROJECTED, weight_hr_l0=info(3, 4)),
            "'weight_hh_l0': got (20, 3), expected 4 (LSTM), 3 (GRU) or 1 (RNN) times 4 rows",
            id="projection-size",
        ),
        pytest.param(
            changed(PROJECTED, weight_hr_l0=info()), "'weight_hr_l0': got (), expected a matrix", id="projection-0d"
        ),
        pytest.param(
            changed(infos(nn.LSTM(7, 5)), weight_hr_l0=info(5, 5)),
            "'weight_hr_l0': got (5, 5), expected (P, H) with P < H",
            id="projection-square",
        ),
        pytest.param(
            changed(CELL, weight_hh=info(15, 4)),
            "'weight_hh': got (15, 4), expected 4 (LSTM), 3 (GRU) or 1 (RNN) times 4 rows",
            id="cell-rows",
        ),
        pytest.param(
            changed(CELL, bias_ih=None), f"'bias_hh': got a key that fits no layer, {LEFTOVER}", id="cell-bias-half"
        ),
    ],
)
def test_contradictory_tensors_are_refused(tensors: Tensors, message: str) -> None:
    with pytest.raises(WeightsError) as caught:
        sound_modules(tensors)
    assert str(caught.value).startswith(f"key {message}")
    assert str(caught.value).endswith("; the checkpoint is damaged or was edited: save it again")


def test_a_contradiction_names_the_whole_key() -> None:
    tensors = {f"encoder.rnn.{key}": value for key, value in changed(TWO_BI, bias_hh_l1=None).items()}
    with pytest.raises(WeightsError, match=r"^key 'encoder\.rnn\.bias_hh_l1': got no such key"):
        sound_modules(tensors)


def test_a_module_does_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        only(nn.LSTM(2, 3)).layers = 2  # type: ignore[misc]


def test_a_tensor_that_cannot_be_read_breaks_its_own_module_alone() -> None:
    flawed = dataclasses.replace(info(20, 5), flaw="a sparse tensor")
    survey = survey_recurrent_modules(
        {**infos(nn.ModuleDict({"a": nn.LSTM(3, 5), "b": nn.LSTM(3, 5)})), "a.weight_hh_l0": flawed}
    )
    assert [module.prefix for module in survey.modules] == ["b"]
    assert "key 'a.weight_hh_l0': got a sparse tensor" in str(survey.broken["a"])


def test_each_key_is_looked_at_a_few_times_however_many_modules_there_are() -> None:
    looks = 0

    class Counted(str):
        def startswith(self, *arguments: Any) -> bool:
            nonlocal looks
            looks += 1
            return super().startswith(*arguments)

    one = infos(nn.LSTM(3, 5))
    tensors: Tensors = {Counted(f"m{number}.{key}"): value for number in range(200) for key, value in one.items()}
    assert len(survey_recurrent_modules(tensors).modules) == 200
    assert looks <= 4 * len(tensors)
