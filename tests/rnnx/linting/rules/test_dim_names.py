import pytest
from tests.rnnx.linting.rules.conftest import Told


def named(first: str, second: str, transposed: str = "") -> str:
    return f"""g (float[{first},{second},5] x, float[1,32,5] w, float[1,32,8] r) => (float[a,1,b,8] y) {{
        {transposed or "s = Identity (x)"} y = LSTM <hidden_size = 8> (s, w, r) }}"""


@pytest.mark.parametrize(
    ("batch", "time"), [("batch", "sequence"), ("B", "T"), ("batch_size", "seq_len"), ("N", "frames")]
)
def test_a_batch_where_the_time_belongs_is_told(told: Told, batch: str, time: str) -> None:
    (found,) = told(named(batch, time), "dims-swapped")
    assert (found.severity, found.node) == ("warning", "input 'x'")
    assert f"its dim {batch!r} is what the recurrence takes for the time" in found.message
    assert told(named(time, batch), "dims-swapped") == []


@pytest.mark.parametrize(("first", "second"), [("d0", "d1"), ("batch", "features"), ("unk__1", "time")])
def test_names_that_say_nothing_are_no_finding(told: Told, first: str, second: str) -> None:
    assert told(named(first, second), "dims-swapped") == []


def test_a_transposed_input_is_read_as_it_is_named(told: Told) -> None:
    assert told(named("batch", "time", "s = Transpose <perm = [1, 0, 2]> (x)"), "dims-swapped") == []
