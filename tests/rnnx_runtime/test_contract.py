import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contracts import changed, contract_of

from rnnx_runtime import Contract, ContractError, TensorSpec
from rnnx_runtime.contract import LARGEST_SIZE, Nonlinearity, Source
from rnnx_runtime.contract_json import contract_from_json, json_from_contract

sizes = st.integers(1, 2**15)  # products of two are dims too
texts = st.text(max_size=20)
unrolled = st.tuples(st.just("unrolled"), sizes)
others = st.tuples(st.sampled_from(["encoder", "step"]), st.none())


@st.composite
def contracts(draw: st.DrawFn) -> Contract:
    form, steps = draw(st.one_of(unrolled, others))
    cell, hidden, is_encoder = draw(st.sampled_from(["lstm", "gru"])), draw(sizes), form == "encoder"
    return contract_of(
        form=form,
        cell=cell,
        input_size=draw(sizes),
        hidden_size=hidden,
        projection_size=draw(sizes) if cell == "lstm" else hidden,
        layers=draw(sizes) if is_encoder else 1,
        directions=draw(st.sampled_from([1, 2])) if is_encoder else 1,
        steps=steps,
        batch_first=draw(st.booleans()),
        state_inputs=draw(st.booleans()),
        lengths=is_encoder and draw(st.booleans()),
        precision=draw(texts),
        formulation=draw(texts),
        source=Source(file=draw(texts), module=draw(texts), weights_sha256=draw(texts)),
        versions=draw(st.dictionaries(texts, texts, max_size=3)),
    )


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=5,
)


def shapes(specs: tuple[TensorSpec, ...]) -> dict[str, str]:
    return {spec.name: f"{spec.dtype} {spec.shape}" for spec in specs}


ENCODER_STATES = {"h0": "float32 (4, B, 4)", "c0": "float32 (4, B, 4)"}
ENCODER_LASTS = {"hn": "float32 (4, B, 4)", "cn": "float32 (4, B, 4)"}
CELL = {"form": "step", "layers": 1, "directions": 1}
UNROLLED = {"form": "unrolled", "layers": 1, "directions": 1, "steps": 3}


@pytest.mark.parametrize(
    ("changes", "inputs", "outputs"),
    [
        pytest.param(
            {},
            {"x": "float32 (T, B, 10)", **ENCODER_STATES},
            {"output": "float32 (T, B, 8)", **ENCODER_LASTS},
            id="lstm-encoder",
        ),
        pytest.param(
            {"batch_first": True},
            {"x": "float32 (B, T, 10)", **ENCODER_STATES},
            {"output": "float32 (B, T, 8)", **ENCODER_LASTS},
            id="lstm-encoder-batch-first",
        ),
        pytest.param(
            {"projection_size": 2},
            {"x": "float32 (T, B, 10)", "h0": "float32 (4, B, 2)", "c0": "float32 (4, B, 4)"},
            {"output": "float32 (T, B, 4)", "hn": "float32 (4, B, 2)", "cn": "float32 (4, B, 4)"},
            id="lstm-encoder-projection",
        ),
        pytest.param(
            {"cell": "gru", "directions": 1, "lengths": True},
            {"x": "float32 (T, B, 10)", "h0": "float32 (2, B, 4)", "lengths": "int32 (B,)"},
            {"output": "float32 (T, B, 4)", "hn": "float32 (2, B, 4)"},
            id="gru-encoder-lengths",
        ),
        pytest.param(
            {"state_inputs": False},
            {"x": "float32 (T, B, 10)"},
            {"output": "float32 (T, B, 8)", **ENCODER_LASTS},
            id="lstm-encoder-no-state",
        ),
        pytest.param(
            CELL,
            {"x": "float32 (B, 10)", "h0": "float32 (B, 4)", "c0": "float32 (B, 4)"},
            {"hn": "float32 (B, 4)", "cn": "float32 (B, 4)"},
            id="lstm-step",
        ),
        pytest.param(
            {**UNROLLED, "cell": "gru"},
            {"x": "float32 (3, B, 10)", "h0": "float32 (B, 4)"},
            {"output": "float32 (3, B, 4)", "hn": "float32 (B, 4)"},
            id="gru-unrolled",
        ),
    ],
)
def test_inputs_and_outputs_follow_from_the_contract(
    contract: Contract, changes: dict[str, Any], inputs: dict[str, str], outputs: dict[str, str]
) -> None:
    own = changed(contract, **changes)
    assert shapes(own.inputs) == inputs
    assert list(shapes(own.inputs)) == list(inputs)
    assert shapes(own.outputs) == outputs
    assert list(shapes(own.outputs)) == list(outputs)


@settings(deadline=None, database=None, derandomize=True, max_examples=100)
@given(contracts())
def test_a_contract_survives_json(drawn: Contract) -> None:
    assert contract_from_json(json.loads(json.dumps(json_from_contract(drawn))), "model.onnx") == drawn


@settings(deadline=None, database=None, derandomize=True, max_examples=200)
@given(json_values)
def test_any_other_json_is_refused(data: Any) -> None:
    with pytest.raises(ContractError, match=r"^contract of model\.onnx: got "):
        contract_from_json(data, "model.onnx")


@settings(deadline=None, database=None, derandomize=True, max_examples=300)
@given(drawn=contracts(), data=st.data())
def test_one_changed_value_gives_a_contract_or_a_contract_error(drawn: Contract, data: st.DataObject) -> None:
    values = json_from_contract(drawn)
    values[data.draw(st.sampled_from(sorted(values)))] = data.draw(json_values)
    try:
        read = contract_from_json(values, "model.onnx")
    except ContractError:
        return
    assert shapes(read.inputs)
    assert shapes(read.outputs)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("form", "decoder"),
        ("form", ["encoder"]),
        ("cell", "elman"),
        ("nonlinearity", "tanh"),
        ("input_size", 0),
        ("input_size", 2.0),
        ("input_size", LARGEST_SIZE + 1),
        ("hidden_size", float("nan")),
        ("hidden_size", "4"),
        ("projection_size", -1),
        ("layers", True),
        ("directions", 3),
        ("directions", 1.0),
        ("steps", 3),
        ("batch_first", 1),
        ("state_inputs", None),
        ("lengths", "no"),
        ("precision", 32),
        ("formulation", None),
        ("versions", ["0.1.0"]),
        ("versions", {"rnnx": 1}),
    ],
)
def test_a_value_of_the_wrong_type_or_range_is_refused(contract: Contract, key: str, value: object) -> None:
    data = json_from_contract(contract)
    place, part = (data, key) if key in data and key != "lengths" else (data["recurrent"][0], "recurrent")
    place[key] = value
    with pytest.raises(ContractError, match=rf"^contract of model\.onnx: got {part} = .*, expected a valid {part}; "):
        contract_from_json(data, "model.onnx")


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = {"file": value}
    return value


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"precision": nested(100_000)}, id="deep"),
        pytest.param({"source": {"file": nested(100_000), "module": "", "weights_sha256": ""}}, id="deep-source"),
        pytest.param({"recurrent": [{"layers": 10**4000}]}, id="digits"),
        pytest.param({"golden_sha256": ["x" * 10**6] * 100}, id="long"),
        pytest.param({"x" * 10**6: 1}, id="long-key"),
        pytest.param({"schema": "x" * 10**6}, id="long-schema"),
    ],
)
def test_a_refusal_is_short_however_large_the_value(contract: Contract, change: dict[str, object]) -> None:
    with pytest.raises(ContractError) as caught:
        contract_from_json({**json_from_contract(contract), **change}, "model.onnx")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("steps", [None, 0, "3"])
def test_an_unrolled_form_needs_its_steps(contract: Contract, steps: object) -> None:
    data = json_from_contract(contract)
    data["recurrent"][0] |= {"form": "unrolled", "steps": steps}
    with pytest.raises(ContractError, match=r"got recurrent = .*expected a valid recurrent"):
        contract_from_json(data, "model.onnx")


def without(key: str) -> Callable[[dict[str, Any]], object]:
    return lambda values: {name: value for name, value in values.items() if name != key}


@pytest.mark.parametrize(
    ("change", "got"),
    [
        pytest.param(without("states"), "states", id="key-missing"),
        pytest.param(without("source"), "source", id="source-missing"),
        pytest.param(lambda values: {**values, "extra": 1}, "extra", id="key-unknown"),
        pytest.param(lambda values: {**values, "source": None}, "mapping", id="source-null"),
        pytest.param(lambda values: {**values, "source": {"file": "a"}}, "module", id="source-incomplete"),
        pytest.param(lambda values: {**values, "schema": 4}, "schema 4", id="schema-newer"),
        pytest.param(lambda values: {**values, "schema": 2}, "schema 2", id="schema-older"),
        pytest.param(without("schema"), "schema None", id="schema-missing"),
        pytest.param(lambda values: {**values, "schema": True}, "schema True", id="schema-true"),
        pytest.param(lambda values: {**values, "schema": 3.0}, r"schema 3\.0", id="schema-fraction"),
        pytest.param(lambda values: [values], "got list", id="no-object"),
    ],
)
def test_another_set_of_keys_is_refused(
    contract: Contract, change: Callable[[dict[str, Any]], object], got: str
) -> None:
    with pytest.raises(ContractError, match=got):
        contract_from_json(change(json_from_contract(contract)), "model.onnx")


def test_another_schema_says_which_version_to_use(contract: Contract) -> None:
    with pytest.raises(ContractError) as caught:
        contract_from_json({**json_from_contract(contract), "schema": 9}, "model.onnx")
    assert str(caught.value) == (
        "contract of model.onnx: got schema 9, expected schema 3; export the model again with this version of rnnx, "
        "or install the version that wrote it"
    )


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_a_plain_rnn_says_its_nonlinearity(contract: Contract, nonlinearity: Nonlinearity) -> None:
    rnn = changed(contract, cell="rnn", nonlinearity=nonlinearity)
    assert contract_from_json(json_from_contract(rnn), "model.onnx") == rnn


@pytest.mark.parametrize("nonlinearity", [None, "sigmoid", ["tanh"], True])
def test_a_plain_rnn_of_no_known_nonlinearity_is_refused(contract: Contract, nonlinearity: object) -> None:
    values = json_from_contract(contract)
    values["recurrent"][0] |= {"cell": "rnn", "nonlinearity": nonlinearity}
    with pytest.raises(ContractError, match=r"got recurrent = .*, expected a valid recurrent"):
        contract_from_json(values, "model.onnx")
