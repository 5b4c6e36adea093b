"""The rules on whole models that rnnx traced, where a guess from the graph alone would be a false alarm."""

import json

import pytest
from onnx import helper
from tests.rnnx.linting.rules.conftest import model_of

from rnnx.linting.examination import examine
from rnnx.linting.rules.origins import origin_of

GRAPH = """
model (float[T,B,3] x, int64[B] lengths, float[1,20,3] W, float[1,20,5] R) => (float[a,b,c,d] y, float[e,f] out)
<int64 i = {4}, int64[4] shape = {7, 1, 2, 5}> {
  made = LSTM <hidden_size = 5> (x, W, R)
  y = Reshape (made, shape)
  first = Gather <axis = 0> (made, i)
  out = Squeeze (first)
}
"""


def _found(producer: str, part: str | None) -> list[tuple[str, str]]:
    """What the rules say of a file whose contract has one recurrent part of this name, or of one without a contract."""
    model = model_of(GRAPH, producer, 17, "")
    helper.set_model_props(model, {} if part is None else {"rnnx": json.dumps({"recurrent": [{"name": part}]})})
    rules = ("baked-time", "baked-batch", "lengths-ignored")
    return [(own.rule, own.severity) for own in examine(model) if own.rule in rules]


def test_a_traced_model_counts_as_the_model_itself_does() -> None:
    assert _found("rnnx 0.1", "lstm") == [("lengths-ignored", "info")]


@pytest.mark.parametrize(
    ("producer", "part"),
    [("pytorch 2.13", None), ("rnnx 0.1", ""), ("onnx.quantize 0.1", "lstm")],
    ids=["another-exporter", "a-layer", "changed-afterwards"],
)
def test_every_other_model_is_told(producer: str, part: str | None) -> None:
    assert {rule for rule, _ in _found(producer, part)} == {"baked-time", "baked-batch", "lengths-ignored"}
    assert ("lengths-ignored", "error") in _found(producer, part)


@pytest.mark.parametrize("text", ["", "{", "[]", "7"], ids=["empty", "cut", "list", "number"])
def test_metadata_that_is_no_contract_is_no_traced_model(text: str) -> None:
    model = model_of(GRAPH, "rnnx 0.1", 17, "")
    helper.set_model_props(model, {"rnnx": text})
    assert not origin_of(model).is_traced
