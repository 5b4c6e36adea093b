import pytest
from tests.rnnx.linting.rules.conftest import model_of

from rnnx.linting.rules.scopes import scopes_of
from rnnx.linting.rules.shape_values import Values, shape_values

CONSTANTS = "int64[1] one = {1}, int64[2] two = {7, 8}, int64 scalar = {5}, int64[1] zero = {0}, int64[1] minus = {-1}"


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ("s = Identity (two)", (7, 8)),
        ("s = Concat <axis = 0> (one, two)", (1, 7, 8)),
        ("s = Shape (x)", (None, None, None)),
        ("s = Shape <start = 1, end = 2> (x)", (None,)),
        ("s = Shape <end = 2> (unknown)", (None, None)),
        ("s = Shape (unknown)", None),
        ("d = Shape (x)\nb = Slice (d, one, two2, zero)\ns = Concat <axis = 0> (two, b)", (7, 8, None)),
        ("d = Shape (unknown)\nb = Gather (d, one)\ns = Concat <axis = 0> (b, one)", (None, 1)),
        ("d = Shape (unknown)\nb = Gather (d, scalar)\ns = Unsqueeze (b, zero)", (None,)),
        ("s = Gather (two, one)", (8,)),
        ("s = Slice (two, one, two2, zero)", (8,)),
        ("d = Shape (x)\ns = Mul (d, scalar)", (None, None, None)),
        ("s = Cast <to = 7> (two)", (7, 8)),
        ("k = Constant <value_ints = [3, 4]> ()\ns = Identity (k)", (3, 4)),
        ("s = NonZero (x)", None),
        ("d = NonZero (x)\ns = Concat <axis = 0> (one, d)", None),
    ],
)  # fmt: skip
def test_what_is_constant_of_a_shape_is_known(nodes: str, expected: Values | None) -> None:
    text = f"g (float[T,B,5] x, float unknown) => (int64[N] s) <{CONSTANTS}, int64[1] two2 = {{2}}> {{ {nodes} }}"
    model = model_of(text)
    model.graph.input[1].type.tensor_type.ClearField("shape")
    assert shape_values(scopes_of(model)[0], "s") == expected


def test_a_graph_that_feeds_itself_ends() -> None:
    model = model_of("g (float[N] x) => (int64[N] s) { s = Identity (s) }")
    assert shape_values(scopes_of(model)[0], "s") is None
