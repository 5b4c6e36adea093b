import pytest
from onnx import ModelProto
from tests.rnnx.linting.rules.conftest import model_of

from rnnx.linting.rules.validity import malformed_parts

RELU = "g (float[N] x) => (float[N] y) <int64[2] s = {1, 2}> { [it] y = Relu (x) }"


@pytest.mark.parametrize(
    ("node", "lack"),
    [
        ("y = LSTM <hidden_size = 8> (x)", ["LSTM 'it' without input W"]),
        ("y = Concat (x, x)", ["Concat 'it' without attribute axis"]),
        ("y = Cast (x)", ["Cast 'it' without attribute to"]),
        ('y = Transpose <perm = "no"> (x)', ["Transpose 'it' without attribute perm of its type"]),
        ("y = Relu (x)", []),
        ("y = local.LSTM (x)", []),
        ("y = NoSuchOperator (x)", []),
    ],
)
def test_a_node_says_what_it_lacks(node: str, lack: list[str]) -> None:
    assert list(malformed_parts(model_of(f"g (float[N] x) => (float[N] y) {{ [it] {node} }}"))) == lack


def test_a_node_in_a_subgraph_is_checked_too() -> None:
    text = """g (bool c, float[N] x) => (float[N] y) {
        y = If (c) < then_branch = t () => (float[N] p) { [inner] p = Add (x) },
                     else_branch = f () => (float[N] q) { q = Identity (x) }> }"""
    assert list(malformed_parts(model_of(text))) == ["Add 'inner' without input B"]


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        (b"Relu", b"Re\xff\xff", "a node whose names are not UTF-8"),
        (b"maker", b"mak\xff\xff", "a text that is not UTF-8"),
        (b"input", b"inp\xff\xff", "a name that is not UTF-8"),
        (b"weight", b"weig\xff\xff", "a name that is not UTF-8"),
    ],
    ids=["operator", "producer", "input", "tensor"],
)
def test_text_that_is_no_text_is_named(old: bytes, new: bytes, text: str) -> None:
    model = model_of(RELU.replace(" s =", " weight =").replace("(float[N] x)", "(float[N] x, float input)"), "maker 1")
    changed = ModelProto.FromString(model.SerializeToString().replace(old, new))
    assert next(malformed_parts(changed)) == text


def test_a_constant_with_too_few_bytes_is_named() -> None:
    model = model_of(RELU)
    del model.graph.initializer[0].int64_data[:]
    model.graph.initializer[0].raw_data = b"12345678"
    assert list(malformed_parts(model)) == ["constant 's' with other bytes than its shape (2,) takes"]


def test_a_model_that_is_whole_has_no_malformed_part() -> None:
    assert list(malformed_parts(model_of(RELU, "maker 1"))) == []


def test_a_large_constant_is_not_decoded() -> None:
    model = model_of(RELU)
    model.graph.initializer[0].dims[:] = [2048]
    assert list(malformed_parts(model)) == []
