from pathlib import Path

import pytest
from torch import nn

import rnnx
from rnnx.errors import ExportError
from rnnx.graphs.export_checks import checked_findings, findings_text

FIXTURES = Path(__file__).parents[2] / "fixtures" / "torch_onnx"


def test_a_graph_that_a_backend_computes_wrongly_is_an_export_error() -> None:
    with pytest.raises(ExportError, match=r"gru-reset-before.dynamo.onnx, GRU 'node_gru__1': .*\(gru-reset-before\)"):
        checked_findings(FIXTURES / "gru-reset-before.dynamo.onnx", remedy="report it", any_backend=False)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("lstm-bi-states.torchscript", "rnnx doctor: nothing found"),
        (
            "lstm-bi-int8-full.quantized",
            "rnnx doctor: error tensorrt-refused, warning int8-saturation, info states-unreachable",
        ),
    ],
)
def test_other_findings_are_told(name: str, text: str) -> None:
    findings = checked_findings(FIXTURES / f"{name}.onnx", remedy="report it", any_backend=False)
    assert findings_text(findings) == text


def test_export_examines_what_it_wrote_and_leaves_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spox.opset.ai.onnx import v17

    whole = v17.lstm
    monkeypatch.setattr(v17, "lstm", lambda *inputs, **options: whole(*inputs, **options, clip=3.0))
    with pytest.raises(ExportError, match=r"LSTM 'LSTM_0': got clip on an LSTM.*report it \(lstm-clip\)"):
        rnnx.export(nn.LSTM(3, 4), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
