import pytest
from tests.rnnx.linting.rules.conftest import Told


def joined(after: str, constants: str, batch: str = "B", directions: int = 2) -> str:
    way = "bidirectional" if directions == 2 else "forward"
    d = directions
    return f"""g (float[T,{batch},5] x, float[{d},24,5] w, float[{d},24,8] r) => (float[a,b,c] out, float[d,e,f] hn)
        <{constants}> {{
            y, hn = GRU <direction = "{way}", hidden_size = 8, linear_before_reset = 1> (x, w, r)
            {after} }}"""


SHAPE = "int64[3] s = {0, -1, 16}"


@pytest.mark.parametrize(
    ("after", "constants", "expected"),
    [
        ("[join] out = Reshape (y, s)", SHAPE, "error"),
        ("p = Transpose <perm = [0, 2, 1, 3]> (y)\n[join] out = Reshape (p, s)", SHAPE, None),
        ("p = Transpose <perm = [2, 0, 1, 3]> (y)\n[join] out = Reshape (p, s)", SHAPE, None),
        ("p = Transpose <perm = [0, 2, 3, 1]> (y)\n[join] out = Reshape (p, s)", SHAPE, "warning"),
        ("[join] out = Reshape (hn, s)", "int64[2] s = {-1, 16}", "warning"),
        ("p = Transpose <perm = [1, 0, 2]> (hn)\n[join] out = Reshape (p, s)", "int64[2] s = {-1, 16}", None),
        ("[join] out = Reshape (y, s)", "int64[3] s = {0, -1, 8}", None),
    ],
    ids=["untransposed", "transposed", "batch-first", "units-first", "states", "states-transposed", "apart"],
)
def test_directions_joined_with_the_wrong_neighbours_are_found(
    told: Told, after: str, constants: str, expected: str | None
) -> None:
    found = told(joined(after, constants), "directions-interleaved")
    assert [(own.severity, own.node) for own in found] == ([(expected, "Reshape 'join'")] if expected else [])


def test_with_a_single_sequence_the_batch_may_stand_between(told: Told) -> None:
    assert told(joined("out = Reshape (y, s)", SHAPE, batch="1"), "directions-interleaved") == []


def test_one_direction_has_no_halves_to_mix(told: Told) -> None:
    text = joined("out = Reshape (y, s)", "int64[3] s = {0, -1, 8}", directions=1)
    assert told(text, "directions-interleaved") == []
