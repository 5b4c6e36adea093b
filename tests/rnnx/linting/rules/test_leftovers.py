from tests.rnnx.linting.rules.conftest import Told

from rnnx.linting.kinds import by_kind


def test_weights_that_nothing_reads_are_told(told: Told) -> None:
    text = """g (float[N] x) => (float[N] y, float[1] c) <float[1] a = {1}, float[1] b = {1}, float[1] c = {1},
        float[1] d = {1}> { y = Add (x, d) }"""
    (found,) = by_kind(told(text))
    assert (found.rule, found.severity, found.node) == ("unused-weights", "info", "weight 'a' (and 1 more)")


def test_a_weight_read_inside_a_subgraph_is_used(told: Told) -> None:
    text = """g (bool c, float[N] x) => (float[N] y) <float[1] w = {1}> {
        y = If (c) < then_branch = t () => (float[N] p) { p = Add (x, w) },
                     else_branch = f () => (float[N] q) { q = Identity (x) }> }"""
    assert told(text) == []
