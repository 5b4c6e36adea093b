import pytest
from tests.rnnx.linting.rules.conftest import Told

RULES = ("tensorrt-refused",)


def test_a_recurrent_node_in_a_scan_is_refused(told: Told) -> None:
    text = """g (float[T,B,5] x, float[1,32,5] w, float[1,32,8] r, float[1,B,8] h)
        => (float[1,B,8] hn, float[T,1,1,B,8] z) {
        hn, z = Scan <num_scan_inputs = 1, body = b (float[1,B,8] h_in, float[B,5] f)
            => (float[1,B,8] h_out, float[1,1,B,8] o) {
            zero = Constant <value_ints = [0]> () s = Unsqueeze (f, zero)
            [inner] o, h_out = LSTM <hidden_size = 8> (s, w, r, "", "", h_in) }> (h, x) }"""
    (found,) = told(text, *RULES)
    assert (found.node, found.severity) == ("LSTM 'inner'", "error")
    assert "body of a Scan" in found.message


def nested(condition: str, depth: int = 2) -> str:
    """An If in as many others; the innermost one's condition is made by the text."""
    inner = f"""{condition} y = If (k) <then_branch = a () => (float[B,5] p) {{ p = Relu (x) }},
        else_branch = b () => (float[B,5] q) {{ q = Neg (x) }}>"""
    for level in range(1, depth):
        inner = f"""y = If (c) <then_branch = t{level} () => (float[B,5] y) {{ {inner} }},
            else_branch = f{level} () => (float[B,5] e{level}) {{ e{level} = Neg (x) }}>""".replace(
            "y = ", f"y{level} = ", 1
        )
        inner = inner.replace("(float[B,5] y)", f"(float[B,5] y{level - 1 or ''})", 1)
    last = f"y{depth - 1}" if depth > 1 else "y"
    return f"""g (float[B,5] x, bool c, bool d, float[1,32,5] w, float[1,32,8] r, float[T,B,5] s)
        => (float[B,5] {last}, float[T,1,B,8] o) {{ o = LSTM <hidden_size = 8> (s, w, r) {inner} }}"""


SHAPE = "n = Shape <start = 1, end = 2> (x) five = Constant <value_ints = [5]> () e = Equal (n, five) k = Squeeze (e)"


@pytest.mark.parametrize(
    ("condition", "depth", "count"),
    [("k = Identity (d)", 1, 0), ("k = Identity (d)", 2, 1), (SHAPE, 2, 0), (SHAPE, 3, 2)],
    ids=["one", "value-in-one", "shape-in-one", "shape-in-two"],
)
def test_branches_in_branches_are_refused(told: Told, condition: str, depth: int, count: int) -> None:
    found = told(nested(condition, depth), *RULES)
    assert [own.severity for own in found] == ["error"] * count
    assert all("branch" in own.message for own in found)


@pytest.mark.parametrize(
    ("condition", "first", "count"), [("go2 = Identity (go)", '""', 1), ("go2 = Identity (go)", "yes", 0)]
)
def test_a_condition_that_a_loop_was_not_given_is_refused(told: Told, condition: str, first: str, count: int) -> None:
    text = f"""g (int64 m, float[B,8] h0) => (float[B,8] hn) {{ yes = Constant <value = bool {{1}}> ()
        hn = Loop (m, {first}, h0) <body = b (int64 t, bool go, float[B,8] h) => (bool go2, float[B,8] k) {{
            {condition} k = Tanh (h) }}> }}"""
    assert len(told(text, *RULES)) == count
