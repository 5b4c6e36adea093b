import pytest
from tests.rnnx.linting.rules.conftest import Told


def picking(after: str, constants: str, dims: str = "T,B") -> str:
    return f"""g (float[{dims},5] x, float[1,24,5] w, float[1,24,8] r) => (float[a,b,c] out)
        <{constants}> {{
            y, hn = GRU <hidden_size = 8, linear_before_reset = 1> (x, w, r)
            {after} }}"""


@pytest.mark.parametrize(
    ("after", "constants", "expected"),
    [
        ("[pick] out = Gather <axis = 0> (y, i)", "int64 i = {4}", "baked-time"),
        ("[pick] out = Gather <axis = 0> (y, i)", "int64 i = {-1}", None),
        ("[pick] out = Gather <axis = 0> (y, i)", "int64 i = {0}", None),
        ("[pick] out = Gather <axis = 1> (y, i)", "int64 i = {1}", None),
        ("[pick] out = Slice (y, a, b, c)", "int64[1] a = {0}, int64[1] b = {5}, int64[1] c = {0}", "baked-time"),
        ("[pick] out = Slice (y, a, b, c)", "int64[1] a = {0}, int64[1] b = {3}, int64[1] c = {2}", "baked-batch"),
        ("[pick] out = Slice (y, a, b, c)", "int64[1] a = {0}, int64[1] b = {4}, int64[1] c = {3}", None),
        ("[pick] out = Slice (y, a, b, c)", "int64[1] a = {1}, int64[1] b = {2147483647}, int64[1] c = {0}", None),
        ("[pick] out = Slice (y, a, b, c)", "int64[1] a = {0}, int64[1] b = {-1}, int64[1] c = {0}", None),
        ("[pick] out = Squeeze (y, a)", "int64[1] a = {2}", "baked-batch"),
        ("[pick] out = Squeeze (y, a)", "int64[1] a = {0}", "baked-time"),
        ("[pick] out = Squeeze (y, a)", "int64[1] a = {1}", None),
    ],
    ids=[
        "fifth-step", "last-step", "first-step", "direction", "five-steps", "three-sequences", "four-units",
        "all-but-first", "all-but-last", "squeezed-batch", "squeezed-time", "squeezed-direction",
    ],
)  # fmt: skip
def test_a_place_of_a_free_axis_that_is_a_constant_is_a_warning(
    told: Told, after: str, constants: str, expected: str | None
) -> None:
    found = [own for own in told(picking(after, constants), "baked-time", "baked-batch") if "'pick'" in own.node]
    assert [(own.rule, own.severity) for own in found] == ([(expected, "warning")] if expected else [])


@pytest.mark.parametrize(
    ("after", "constants", "words"),
    [
        ("out = Gather <axis = 0> (y, i)", "int64 i = {4}", ["it picks time step 4"]),
        ("out = Squeeze (y, a)", "int64[2] a = {0, 2}", ["it drops the time axis", "it drops the batch axis"]),
        (
            "out = Slice (y, a, b, c)",
            "int64[2] a = {0, 0}, int64[2] b = {5, 3}, int64[2] c = {0, 2}",
            ["it keeps the first 5 time steps", "it keeps the first 3 sequences"],
        ),
    ],
    ids=["gather", "squeeze", "slice"],
)
def test_the_message_says_what_is_picked(told: Told, after: str, constants: str, words: list[str]) -> None:
    found = told(picking(after, constants), "baked-time", "baked-batch")
    assert [own.message[: len(word)] for own, word in zip(found, words, strict=True)] == words


def test_in_a_model_of_fixed_lengths_a_place_is_a_place(told: Told) -> None:
    found = told(picking("[pick] out = Gather <axis = 0> (y, i)", "int64 i = {4}", "5,B"), "baked-time")
    assert [own.node for own in found] == ["input 'x'"]


@pytest.mark.parametrize(("start", "end", "told_so"), [(-1, 2147483647, False), (3, 4, False), (0, 5, True)])
def test_an_axis_that_was_cut_to_one_step_may_be_dropped(told: Told, start: int, end: int, told_so: bool) -> None:
    constants = f"int64[1] a = {{{start}}}, int64[1] b = {{{end}}}, int64[1] c = {{0}}"
    found = told(picking("s = Slice (y, a, b, c) [drop] out = Squeeze (s, c)", constants), "baked-time")
    assert ("Squeeze 'drop'" in [own.node for own in found]) is told_so
