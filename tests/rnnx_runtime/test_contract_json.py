"""The contract as JSON: both ways, and every value that no contract can have."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.whole_model import CONTRACT

from rnnx_runtime.contract import Contract, DecoderPart, SizeRange, TensorSpec
from rnnx_runtime.contract_json import contract_from_json, json_from_contract
from rnnx_runtime.errors import ContractError

DECODER = DecoderPart(
    form="step",
    feed=None,
    steps=None,
    token="lengths",
    logits="output",
    tokens=None,
    context=("mask",),
    start_token=1,
    end_token=2,
    pad_token=0,
)

FRAMED = TensorSpec(name="wav", dtype="float32", dims=("B", "T//2", "T + 1", "160*S"))
"""Halves, a sum, and a symbol that stands alone nowhere."""

DEFAULTED = ("versions", "golden_sha256")
"""Keys that may be left out, as in a layer's contract."""


def _plain(contract: Contract) -> Any:
    return json.loads(json.dumps(json_from_contract(contract)))


@pytest.mark.parametrize(
    "contract",
    [
        pytest.param(CONTRACT, id="model"),
        pytest.param(replace(CONTRACT, decoder=DECODER), id="decoder"),
        pytest.param(replace(CONTRACT, inputs=(*CONTRACT.inputs, FRAMED)), id="expressions"),
        pytest.param(
            replace(
                CONTRACT, outputs=(TensorSpec(name="y", dtype="float32", dims=("B", "(T - 3)//2 + 1")),), states=()
            ),
            id="expression",
        ),
    ],
)
def test_a_contract_survives_json(contract: Contract) -> None:
    assert contract_from_json(_plain(contract), "a file") == contract


def _set(*path: str | int, value: Any) -> Callable[[Any], None]:
    def change(data: Any) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "part"),
    [
        pytest.param(_set("schema", value=99), "schema", id="schema"),
        pytest.param(_set("schema", value=1.0), "schema", id="schema-float"),
        pytest.param(_set("inputs", value=[]), "inputs", id="no-inputs"),
        pytest.param(_set("inputs", 0, "dtype", value="complex64"), "inputs", id="dtype"),
        pytest.param(_set("inputs", 0, "name", value="a b"), "inputs", id="name"),
        pytest.param(_set("inputs", 0, "dims", 2, value=0), "inputs", id="size-zero"),
        pytest.param(_set("inputs", 0, "dims", 2, value=True), "inputs", id="size-bool"),
        pytest.param(_set("inputs", 0, "dims", 1, value="2*"), "inputs", id="no-expression"),
        pytest.param(_set("inputs", 0, "dims", 1, value="S//2"), "inputs", id="unsolved-symbol"),
        pytest.param(_set("inputs", 0, "dims", value=["D"] * 9), "inputs", id="nine-axes"),
        pytest.param(_set("inputs", 0, "extra", value=1), "keys", id="unknown-key"),
        pytest.param(_set("outputs", 0, "name", value="x"), "outputs", id="an-input's-name"),
        pytest.param(_set("outputs", value=[]), "outputs", id="no-outputs"),
        pytest.param(_set("outputs", 0, "dims", 0, value="x" * 300), "outputs", id="long-expression"),
        pytest.param(_set("states", 0, "output", value="output"), "states", id="state-of-another-shape"),
        pytest.param(_set("states", 0, "input", value="nothing"), "states", id="state-of-no-input"),
        pytest.param(_set("states", value=[{"input": "h0", "output": "hn"}] * 2), "states", id="state-twice"),
        pytest.param(_set("lengths", value=["x"]), "lengths", id="lengths-of-floats"),
        pytest.param(_set("lengths", value=["lengths", "lengths"]), "lengths", id="lengths-twice"),
        pytest.param(_set("lengths", value="lengths"), "keys", id="lengths-as-text"),
        pytest.param(_set("recurrent", 0, "cell", value="cnn"), "recurrent", id="cell"),
        pytest.param(_set("recurrent", 0, "directions", value=3), "recurrent", id="directions"),
        pytest.param(_set("recurrent", 0, "hidden_size", value=-1), "recurrent", id="hidden-size"),
        pytest.param(_set("recurrent", 0, "form", value="loop"), "recurrent", id="form"),
        pytest.param(_set("recurrent", 0, "nonlinearity", value="tanh"), "recurrent", id="nonlinearity"),
        pytest.param(_set("streaming", "kind", value="often"), "streaming", id="streaming"),
        pytest.param(_set("precision", value=16), "precision", id="precision"),
        pytest.param(_set("source", "weights_sha256", value=None), "source", id="weights"),
        pytest.param(_set("versions", "rnnx", value=1), "versions", id="version"),
        pytest.param(_set("golden_sha256", value=None), "golden_sha256", id="golden"),
        pytest.param(_set("decoder", "form", value="beam"), "decoder", id="decoder-form"),
        pytest.param(_set("decoder", "token", value="output"), "decoder", id="decoder-token"),
        pytest.param(_set("decoder", "end_token", value=-1), "decoder", id="decoder-end"),
        pytest.param(_set("decoder", "context", value=["none"]), "decoder", id="decoder-context"),
        pytest.param(_set("decoder", "steps", value=0), "decoder", id="decoder-steps"),
    ],
)
def test_what_no_contract_holds_is_refused(change: Callable[[Any], None], part: str) -> None:
    data = _plain(replace(CONTRACT, decoder=DECODER))
    change(data)
    with pytest.raises(ContractError, match=part):
        contract_from_json(data, "a file")


NASTY: list[Any] = [None, True, -1, 1.5, 10**400, float("inf"), [], {}, [5], {"a": 1}, [[[]]], "\ud800", "x" * 1000]

SAME = {("lengths", "[]"), ("states", "[]"), ("recurrent", "[]"), ("versions", "{}"), ("decoder", "None")}
"""Nasty values that are right in their place."""


@pytest.mark.parametrize("value", NASTY, ids=[repr(value)[:20] for value in NASTY])
def test_a_nasty_value_anywhere_is_refused_or_is_a_text(value: object) -> None:
    data = _plain(CONTRACT)
    for key in data.keys() - {"schema"}:
        changed = {**data, key: value}
        if (isinstance(value, str) and key in ("precision", "golden_sha256")) or (key, repr(value)) in SAME:
            contract_from_json(changed, "a file")
            continue
        with pytest.raises(ContractError):
            contract_from_json(changed, "a file")


@pytest.mark.parametrize("data", [None, [], "model", {}, {"form": "model"}], ids=str)
def test_data_that_is_no_contract_is_refused(data: object) -> None:
    with pytest.raises(ContractError):
        contract_from_json(data, "a file")


@pytest.mark.parametrize("key", sorted(json_from_contract(CONTRACT).keys() - {"schema", *DEFAULTED}))
def test_no_key_may_be_missing(key: str) -> None:
    data = _plain(CONTRACT)
    del data[key]
    with pytest.raises(ContractError, match="keys"):
        contract_from_json(data, "a file")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"input_size": 9}, id="input-size"),
        pytest.param({"form": "step", "layers": 1, "directions": 1, "lengths": False}, id="form"),
        pytest.param({"batch_first": True}, id="batch-first"),
        pytest.param({"lengths": True}, id="lengths"),
        pytest.param({"state_inputs": False}, id="state-inputs"),
        pytest.param({"cell": "gru"}, id="cell"),
    ],
)
def test_a_bare_layer_that_contradicts_its_own_recurrence_is_refused(
    contract: Contract, change: dict[str, object]
) -> None:
    data = _plain(contract)
    data["recurrent"][0] |= change
    with pytest.raises(ContractError, match="as its own recurrence says"):
        contract_from_json(data, "a file")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"form": "step", "lengths": True, "layers": 1}, id="lengths-of-a-step"),
        pytest.param({"form": "step", "lengths": False, "layers": 2}, id="two-layers-of-a-step"),
        pytest.param({"cell": "gru", "projection_size": 3}, id="projection-of-a-gru"),
    ],
)
def test_a_recurrence_that_contradicts_itself_is_refused(contract: Contract, change: dict[str, object]) -> None:
    data = _plain(contract)
    data["recurrent"][0] |= {"name": "rnn", **change}
    with pytest.raises(ContractError, match=r"got recurrent = .* expected a valid recurrent"):
        contract_from_json(data, "a file")


def test_a_layer_without_a_name_stands_alone(contract: Contract) -> None:
    data = _plain(contract)
    data["recurrent"] *= 2
    with pytest.raises(ContractError, match="a layer without a name beside other parts"):
        contract_from_json(data, "a file")


@pytest.mark.parametrize("schema", [1, 2])
def test_a_file_of_an_earlier_schema_is_to_be_exported_again(contract: Contract, schema: int) -> None:
    with pytest.raises(ContractError, match=f"got schema {schema}, expected schema 3; export the model again"):
        contract_from_json({**_plain(contract), "schema": schema}, "a file")


@pytest.mark.parametrize("key", ["token", "logits", "tokens"])
@pytest.mark.parametrize("value", [[], {}, [[]]], ids=repr)
def test_a_decoders_name_that_is_no_text_is_refused(key: str, value: object) -> None:
    data = _plain(replace(CONTRACT, decoder=DECODER))
    data["decoder"][key] = value
    with pytest.raises(ContractError, match="a valid decoder"):
        contract_from_json(data, "m.onnx")


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"token": None}, id="step-without-token"),
        pytest.param({"logits": None}, id="step-without-logits"),
        pytest.param({"form": "loop", "feed": "argmax", "steps": 4}, id="loop-without-tokens"),
        pytest.param({"form": "loop", "feed": "argmax", "tokens": "output", "token": None}, id="loop-without-steps"),
        pytest.param({"form": "loop", "steps": 4, "tokens": "output"}, id="start-token-and-input"),
        pytest.param(
            {"form": "unrolled", "feed": "teacher", "steps": 4, "start_token": None}, id="one-token-from-a-teacher"
        ),
    ],
)
def test_a_decoder_that_lacks_what_its_form_needs_is_refused(changes: dict[str, Any]) -> None:
    data = _plain(replace(CONTRACT, decoder=DECODER))
    data["decoder"] |= changes
    with pytest.raises(ContractError, match="a valid decoder"):
        contract_from_json(data, "m.onnx")


def test_a_range_of_sizes_survives_and_is_left_out_where_there_is_none() -> None:
    ranged = replace(CONTRACT, ranges={"T": SizeRange(min=5, max=9), "B": SizeRange(min=2)})
    assert contract_from_json(_plain(ranged), "a file") == ranged
    assert "ranges" not in _plain(CONTRACT)


@pytest.mark.parametrize(
    "ranges",
    [
        pytest.param({"N": {"min": 1, "max": None}}, id="unknown-dim"),
        pytest.param({"T": {"min": 0, "max": None}}, id="zero"),
        pytest.param({"T": {"min": 5, "max": 4}}, id="empty"),
        pytest.param({"T": {"least": 5}}, id="key"),
        pytest.param({"T": 5}, id="number"),
        pytest.param([], id="list"),
    ],
)
def test_a_malformed_range_is_refused(ranges: Any) -> None:
    with pytest.raises(ContractError):
        contract_from_json({**_plain(CONTRACT), "ranges": ranges}, "a file")
