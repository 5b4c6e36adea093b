import pytest
from tests.rnnx.rules.conftest import model_of

from rnnx.rules.validity import malformed_nodes


@pytest.mark.parametrize(
    ("node", "lack"),
    [
        ("y = LSTM <hidden_size = 8> (x)", ["LSTM 'it' without input W"]),
        ("y = Concat (x, x)", ["Concat 'it' without attribute axis"]),
        ("y = Cast (x)", ["Cast 'it' without attribute to"]),
        ("y = Relu (x)", []),
        ("y = local.LSTM (x)", []),
        ("y = NoSuchOperator (x)", []),
    ],
)
def test_a_node_says_what_it_lacks(node: str, lack: list[str]) -> None:
    assert list(malformed_nodes(model_of(f"g (float[N] x) => (float[N] y) {{ [it] {node} }}"))) == lack


def test_a_node_in_a_subgraph_is_checked_too() -> None:
    text = """g (bool c, float[N] x) => (float[N] y) {
        y = If (c) < then_branch = t () => (float[N] p) { [inner] p = Add (x) },
                     else_branch = f () => (float[N] q) { q = Identity (x) }> }"""
    assert list(malformed_nodes(model_of(text))) == ["Add 'inner' without input B"]
