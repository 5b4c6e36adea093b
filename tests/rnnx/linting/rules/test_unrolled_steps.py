import pytest
from tests.rnnx.linting.rules.conftest import Told

STEP = """
    gates{i} = Gemm <transB = 1> (x{i}, w, b)
    i{i}, f{i}, g{i}, o{i} = Split <axis = 1> (gates{i})
    si{i} = Sigmoid (i{i})
    sf{i} = Sigmoid (f{i})
    so{i} = Sigmoid (o{i})
    tg{i} = Tanh (g{i})
    kept{i} = Mul (sf{i}, c{i})
    new{i} = Mul (si{i}, tg{i})
    c{j} = Add (kept{i}, new{i})
    tc{i} = Tanh (c{j})
    h{i} = Mul (so{i}, tc{i})
"""


def traced(places: list[int], dims: str = "T,B", axis: int = 0) -> str:
    """LSTM steps written out, each over the place of x that it is given."""
    picks = [f"[pick{i}] x{i} = Gather <axis = {axis}> (x, p{i})" for i in range(len(places))]
    steps = [STEP.format(i=i, j=i + 1) for i in range(len(places))]
    constants = ", ".join(f"int64 p{i} = {{{place}}}" for i, place in enumerate(places))
    return f"""g (float[{dims},5] x, float[32,5] w, float[32] b, float[B,8] c0) => (float[B,8] h0)
        <{constants}> {{ {" ".join(p + s for p, s in zip(picks, steps, strict=True))} }}"""


@pytest.mark.parametrize(("axis", "dims"), [(0, "T,B"), (1, "B,T")])
def test_a_loop_that_was_traced_holds_its_number_of_steps(told: Told, axis: int, dims: str) -> None:
    (found,) = told(traced([0, 1, 2], dims, axis), "baked-time")
    assert (found.severity, found.node) == ("error", "Gather 'pick0' (and 2 more)")
    assert "time length 3" in found.message


@pytest.mark.parametrize(
    ("places", "dims"),
    [([0, 1, 2], "3,B"), ([0, 2, 4], "T,B"), ([0], "T,B")],
    ids=["as-many-as-declared", "every-second", "one"],
)
def test_steps_that_are_not_the_whole_sequence_of_an_example_are_no_finding(
    told: Told, places: list[int], dims: str
) -> None:
    assert told(traced(places, dims), "baked-time") == []
