import pytest
from tests.rnnx.linting.rules.conftest import Told

RULES = ("sequence-lens-type", "sequence-lens-half", "lengths-ignored")


def with_lengths(kind: str, given: str, element: str = "float", name: str = "lengths", dims: str = "[B]") -> str:
    return f"""g ({element}[T,B,5] x, {element}[1,32,5] w, {element}[1,32,8] r, {kind}{dims} {name})
        => ({element}[T,1,B,8] y) {{ [rnn] y = LSTM <hidden_size = 8> (x, w, r, "", {given or '""'}) }}"""


def test_lengths_in_int64_are_an_error_everywhere(told: Told) -> None:
    (found,) = told(with_lengths("int64", "lengths"), *RULES)
    assert (found.rule, found.severity, found.node, found.backends) == ("sequence-lens-type", "error", "LSTM 'rnn'", ())
    assert "is int64, ONNX wants int32" in found.message


@pytest.mark.parametrize("element", ["float16", "bfloat16"])
def test_lengths_beside_half_precision_are_refused_by_tensorrt(told: Told, element: str) -> None:
    (found,) = told(with_lengths("int32", "lengths", element), *RULES)
    assert (found.rule, found.severity) == ("sequence-lens-half", "error")
    assert found.backends == ("tensorrt", "tensorrt-rtx")


@pytest.mark.parametrize("name", ["lengths", "seq_len", "inputLengths"])
def test_lengths_that_nothing_reads_are_an_error(told: Told, name: str) -> None:
    (found,) = told(with_lengths("int64", "", name=name), *RULES)
    assert (found.rule, found.severity, found.node) == ("lengths-ignored", "error", "LSTM 'rnn'")
    assert repr(name) in found.message


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(with_lengths("int32", "lengths"), id="right"),
        pytest.param(with_lengths("int64", "", name="token"), id="another-input"),
        pytest.param(with_lengths("float", "", name="lengths"), id="no-integers"),
        pytest.param(with_lengths("int64", "", name="lengths", dims="[B,2]"), id="a-matrix"),
    ],
)
def test_other_inputs_are_no_lengths(told: Told, text: str) -> None:
    assert told(text, *RULES) == []


@pytest.mark.parametrize(
    "nodes",
    [
        pytest.param("s = Shape <start = 1, end = 2> (x) l = ConstantOfShape <value = int32[1] {7}> (s)", id="filled"),
        pytest.param(
            "s = Shape <start = 1, end = 2> (x) seven = Constant <value = int32[1] {7}> () l = Expand (seven, s)",
            id="expanded",
        ),
        pytest.param("l = Constant <value = int32[2] {7, 7}> ()", id="constant"),
    ],
)
def test_lengths_that_are_the_same_in_every_call_are_told(told: Told, nodes: str) -> None:
    text = f"""g (float[T,B,5] x, float[1,32,5] w, float[1,32,8] r) => (float[T,1,B,8] y)
        {{ {nodes} [rnn] y = LSTM <hidden_size = 8> (x, w, r, "", l) }}"""
    (found,) = told(text, "lengths-constant")
    assert (found.severity, found.node) == ("warning", "LSTM 'rnn'")


def test_lengths_that_are_given_are_not_constant(told: Told) -> None:
    assert told(with_lengths("int32", "lengths"), "lengths-constant") == []
