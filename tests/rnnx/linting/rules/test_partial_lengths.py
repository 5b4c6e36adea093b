import pytest
from tests.rnnx.linting.rules.conftest import Told

RULE = "lengths-partial"


def stacked(upper: str, outputs: str = "y", direction: str = "bidirectional", reads: str = "s") -> str:
    return f"""g (float[T,B,5] x, float[S,B,8] z, float[1,24,5] w, float[1,24,8] r,
        float[2,24,8] v, float[2,24,8] u, int32[B] n)
        => (float[a,b,c,d] y) {{
        one = Constant <value_ints = [1]> ()
        [lower] k = GRU <hidden_size = 8, linear_before_reset = 1> (x, w, r, "", n)
        s = Squeeze (k, one)
        [upper] {outputs} = GRU <hidden_size = 8, linear_before_reset = 1, direction = "{direction}">
            ({reads}, v, u, "", {upper}) }}"""


def test_a_layer_above_that_runs_over_the_padding_is_told(told: Told) -> None:
    (found,) = told(stacked('""'), RULE)
    assert (found.severity, found.node) == ("warning", "GRU 'upper'")
    assert "GRU 'lower' below it" in found.message


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(stacked("n"), id="both"),
        pytest.param(stacked('""', direction="forward"), id="padding-stays-behind"),
        pytest.param(stacked('""', reads="z"), id="another-sequence"),
    ],
)
def test_other_layers_need_no_lengths(told: Told, text: str) -> None:
    assert told(text, RULE) == []
