import pytest
from tests.rnnx.linting.rules.conftest import Told


def grus(*forms: str) -> str:
    nodes = "\n".join(f"[gru{i}] y{i}, hn{i} = GRU <hidden_size = 8 {form}> (x, w, r)" for i, form in enumerate(forms))
    return f"g (float[T,B,5] x, float[1,24,5] w, float[1,24,8] r) => (float[T,1,B,8] y0) {{ {nodes} }}"


AFTER = ", linear_before_reset = 1"


@pytest.mark.parametrize("form", ["", ", linear_before_reset = 0"], ids=["absent", "zero"])
@pytest.mark.parametrize(
    ("producer", "severity"),
    [("pytorch 2.9.1", "error"), ("tf2onnx 1.16.1", "info"), ("", "warning"), ("onnx.quantize 0.1.0", "warning")],
)
def test_a_gru_that_resets_before_is_judged_by_its_exporter(
    told: Told, producer: str, severity: str, form: str
) -> None:
    (found,) = told(grus(form), "gru-reset-before", producer=producer)
    assert (found.severity, found.node) == (severity, "GRU 'gru0'")
    assert "reset gate" in found.message


@pytest.mark.parametrize("producer", ["pytorch 2.9.1", "tf2onnx 1.16.1", ""])
def test_a_gru_that_resets_after_is_right(told: Told, producer: str) -> None:
    assert told(grus(AFTER), "gru-reset-before", "gru-forms-mixed", producer=producer) == []


def test_two_forms_in_one_model_are_named(told: Told) -> None:
    (found,) = told(grus(AFTER, "", AFTER), "gru-forms-mixed")
    assert (found.severity, found.node) == ("warning", "GRU 'gru1'")
    assert found.message.startswith("1 of 3 GRU nodes")


def test_one_form_throughout_is_not_mixed(told: Told) -> None:
    assert told(grus("", ""), "gru-forms-mixed") == []
