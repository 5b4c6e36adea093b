import pytest
from tests.rnnx.linting.rules.conftest import Told

RULES = ("loop-no-limit", "loop-ends-early", "loop-never-runs")


def ending(condition: str, gathered: bool = True, limit: str = "m", first: str = "yes") -> str:
    """A Loop of at most 20 rounds that may end by its own condition."""
    more = ", float[S,B,4] ys" if gathered else ""
    return f"""g (int64 m, float[B,4] h0, float[4,4] r, float th) => (float[B,4] hn {more}) {{
        yes = Constant <value = bool {{1}}> () no = Constant <value = bool {{0}}> ()
        twenty = Constant <value_int = 20> () none = Constant <value_int = 0> () narrow = Cast <to = 6> (m)
        [rounds] hn {", ys" if gathered else ""} = Loop ({limit}, {first}, h0) <body = body
            (int64 t, bool go, float[B,4] h) => (bool go2, float[B,4] h2 {", float[B,4] out" if gathered else ""}) {{
                a = MatMul (h, r) h2 = Tanh (a) {"out = Identity (h2)" if gathered else ""}
                top = ReduceMax <keepdims = 0> (h2) {condition} }}> }}"""


def test_a_loop_that_ends_early_and_gathers_is_an_error_in_tensorrt(told: Told) -> None:
    (found,) = told(ending("go2 = Greater (top, th)"), "loop-ends-early")
    assert (found.severity, found.node, found.backends) == ("error", "Loop 'rounds'", ("tensorrt", "tensorrt-rtx"))


@pytest.mark.parametrize(
    "text", [ending("go2 = Identity (go)"), ending("go2 = Greater (top, th)", gathered=False)], ids=["limit", "last"]
)
def test_other_loops_do_not_end_early(told: Told, text: str) -> None:
    assert told(text, "loop-ends-early") == []


@pytest.mark.parametrize(
    ("condition", "limit"),
    [
        ("go2 = Less (t, m)", "m"),
        ("n = Cast <to = 1> (narrow) s = Cast <to = 1> (t) go2 = Less (s, n)", "m"),
        ("a1 = Less (t, m) a2 = Less (t, m) go2 = And (a1, a2)", "m"),
        ("go2 = Less (t, twenty)", "twenty"),
    ],
    ids=["limit", "converted", "both", "constant"],
)
def test_a_condition_that_counts_to_the_limit_ends_with_it(told: Told, condition: str, limit: str) -> None:
    assert told(ending(condition, limit=limit), *RULES) == []


@pytest.mark.parametrize(
    "condition", ["go2 = Less (t, twenty)", "a1 = Less (t, m) a2 = Less (top, th) go2 = And (a1, a2)"]
)
def test_a_condition_that_counts_to_something_else_ends_early(told: Told, condition: str) -> None:
    assert [own.rule for own in told(ending(condition), *RULES)] == ["loop-ends-early"]


@pytest.mark.parametrize(("limit", "first"), [("none", "yes"), ("m", "no")])
def test_a_loop_that_makes_no_step_is_an_error_everywhere(told: Told, limit: str, first: str) -> None:
    (found,) = told(ending("go2 = Identity (go)", limit=limit, first=first), *RULES)
    assert (found.rule, found.severity, found.backends) == ("loop-never-runs", "error", ())


def test_a_loop_without_a_limit_is_refused_by_tensorrt(told: Told) -> None:
    (found,) = told(ending("go2 = Greater (top, th)", limit='""'), *RULES)
    assert (found.rule, found.severity, found.backends) == ("loop-no-limit", "error", ("tensorrt", "tensorrt-rtx"))
