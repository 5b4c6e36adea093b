import pytest
from tests.rnnx.linting.rules.conftest import model_of

from rnnx.linting.rules.axes import OTHER, TIME, axis_at
from rnnx.linting.rules.examined_model import examined

CONSTANTS = """
    int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, int64[1] minus = {-1}, int64[1] far = {9},
    int64 first = {0}, int64[2] rows = {0, 1}, int64[3] flat = {-1, 1, 8}, int64[2] wide = {-1, 8},
    float[2,3] v = {1, 2, 3, 4, 5, 6}, float[3] bias = {1, 2, 3}, int64[2] same = {1, 1}
"""


def axes_of(nodes: str, name: str, source: str = "x") -> str | None:
    """What the dims of a tensor stand for, `?` for one of unknown meaning; None where no trail leads to it."""
    text = f"""g (float x, float[1,32,5] w, float[1,32,8] r, float k) => (float out) {{
        y, hn, cn = LSTM <hidden_size = 8> ({source}, w, r, "", lens, h0, c0)
        {nodes} }}"""
    model = model_of(text)
    model.graph.initializer.extend(model_of(f"g () => () <{CONSTANTS}> {{ }}").graph.initializer)
    for value in (*model.graph.input, *model.graph.output):
        if not value.type.tensor_type.shape.dim:
            value.type.tensor_type.ClearField("shape")
    axes = examined(model).main.axes.get(name)
    return None if axes is None else " ".join("".join(atom.meaning or "?" for atom in axis) for axis in axes)


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("x", "T B ?"),
        ("y", "T D B H"),
        ("hn", "D B H"),
        ("cn", "D B H"),
        ("h0", "D B H"),
        ("c0", "D B H"),
        ("lens", "B"),
    ],
)
def test_a_recurrent_node_says_what_its_own_dims_are(name: str, axes: str) -> None:
    assert axes_of("", name) == axes


@pytest.mark.parametrize(
    ("nodes", "axes"),
    [
        ("out = Tanh (y)", "T D B H"),
        ("out = Transpose <perm = [2, 0, 1, 3]> (y)", "B T D H"),
        ("out = Transpose (y)", "H B D T"),
        ("out = Transpose <perm = [1, 0]> (y)", None),
        ("out = Squeeze (y, one)", "T B H"),
        ("out = Squeeze (y, minus)", "T D B"),
        ("out = Squeeze (y, far)", None),
        ("out = Squeeze (y)", None),
        ("out = Unsqueeze (hn, zero)", "? D B H"),
        ("out = Unsqueeze (hn, minus)", "D B H ?"),
        ("out = Unsqueeze (hn, same)", None),
        ("out = Reshape (y, flat)", "T ? H"),
        ("out = Reshape (y, wide)", "TB H"),
        ("out = Reshape (y, k)", None),
        ("out = MatMul (y, v)", "T D B ?"),
        ("out = MatMul (y, bias)", None),
        ("out = MatMul (y, k)", None),
        ("out = Add (y, bias)", "T D B H"),
        ("out = Add (k, y)", "T D B H"),
        ("out = Mul (hn, y)", "T D B H"),
        ("out = Concat <axis = 0> (hn, cn)", "? B H"),
        ("out = Concat <axis = -1> (k, y)", "T D B ?"),
        ("out = Concat <axis = 0> (y, k)", "T D B H"),
        ("out = Slice (y, zero, one, two)", "T D B H"),
        ("out = Slice (y, zero, one, minus)", "T D B ?"),
        ("out = Slice (y, zero, one)", None),
        ("o1, out = Split <axis = 3> (y)", "T D B ?"),
        ("o1, out = Split (hn)", "? B H"),
        ("out = Gather <axis = 0> (y, first)", "D B H"),
        ("out = Gather <axis = 1> (y, rows)", "T ? B H"),
        ("out = Gather <axis = -1> (y, first)", "T D B"),
        ("out = Gather <axis = 9> (y, first)", None),
        ("out = Gather <axis = 0> (y, k)", None),
        ("out = Conv (y, k)", None),
        ("out = local.Tanh (y)", None),
    ],
)
def test_a_meaning_is_carried_down(nodes: str, axes: str | None) -> None:
    assert axes_of(nodes, "out") == axes


@pytest.mark.parametrize(
    ("nodes", "axes"),
    [
        ("s = Tanh (x)", "T B ?"),
        ("s = Transpose <perm = [2, 0, 1]> (x)", "B ? T"),
        ("s = Squeeze (x, zero)", "? T B ?"),
        ("s = Unsqueeze (x, two)", "T B"),
        ("s = Unsqueeze (x, far)", None),
        ("s = MatMul (x, v)", "T B ?"),
        ("s = MatMul (x, bias)", None),
        ("s = MatMul (x, k)", None),
        ("s = Add (x, bias)", "T B ?"),
        ("s = Add (x, k)", None),
        ("s = Concat <axis = 2> (k, x)", "T B ?"),
        ("s = Concat <axis = 0> (k, x)", "T B ?"),
        ("s = Slice (x, zero, one, zero)", "T B ?"),
        ("s = Split <axis = 2> (x)", "T B ?"),
        ("o1, s = Split <axis = 1> (x)", "T B ?"),
        ("s = Reshape (x, flat)", None),
    ],
)
def test_a_meaning_is_carried_up(nodes: str, axes: str | None) -> None:
    assert axes_of(nodes, "x", source="s") == axes


def test_what_is_declared_with_another_rank_is_not_what_was_carried() -> None:
    text = """g (float[T,B,5] x, float[1,24,5] w, float[1,24,8] r, float[2,3,4,5,6] k) => (float[a,b,c,d,e] out)
        { y = GRU <hidden_size = 8> (x, w, r)
          out = Add (y, k) }"""
    axes = examined(model_of(text)).main.axes
    assert "y" in axes
    assert "out" not in axes


def test_layout_puts_the_batch_first() -> None:
    text = """g (float[B,T,5] x, float[1,24,5] w, float[1,24,8] r) => (float[a,b,c,d] y, float[e,f,g] hn)
        { y, hn = GRU <hidden_size = 8, layout = 1> (x, w, r) }"""
    axes = examined(model_of(text)).main.axes
    shown = {name: "".join(atom.meaning or "?" for axis in axes[name] for atom in axis) for name in ("x", "y", "hn")}
    assert shown == {"x": "BT?", "y": "BTDH", "hn": "BDH"}


@pytest.mark.parametrize(("place", "axis"), [(0, TIME), (-2, TIME), (1, OTHER), (2, OTHER), (-3, OTHER)])
def test_an_axis_that_is_not_there_means_nothing(place: int, axis: object) -> None:
    assert axis_at((TIME, OTHER), place) == axis
