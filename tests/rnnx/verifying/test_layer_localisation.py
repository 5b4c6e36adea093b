"""A whole model whose file is not its module's: the first layer that differs is named."""

from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from tests.mutants.edits import weights
from tests.mutants.proof import write_sealed
from torch import Tensor, nn

import rnnx
from rnnx.diagnosis.diagnosis import Diagnosis

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


class Stacked(nn.Module):
    """Layers of two kinds between linear ones, the second of them packed, and a cell that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.front, self.head = nn.Linear(3, 4), nn.Linear(6, 2)
        self.first = nn.LSTM(4, 5, 2, bidirectional=True, batch_first=True)
        self.second = nn.GRU(10, 6, batch_first=True)
        self.cell = nn.GRUCell(6, 6)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        found, _ = self.first(self.front(x))
        packed = nn.utils.rnn.pack_padded_sequence(found, lengths, batch_first=True, enforce_sorted=False)
        last = self.second(packed)[1][0]
        scores: Tensor = self.head(self.cell(last, self.cell(last)))
        return scores


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Stacked]:
    torch.manual_seed(31207)
    module, path = Stacked().eval(), tmp_path_factory.mktemp("stacked") / "model.onnx"
    rnnx.export(module, path, example_inputs=(torch.randn(3, 7, 3), torch.tensor([7, 5, 2])))
    return path, module


def diagnosis_of(exported: tuple[Path, Stacked], start: str) -> Diagnosis:
    """Of the model with the weights changed whose names begin so."""
    path, module = exported
    model = onnx.load(path)
    weights(start, lambda value: value * 1.5 + 0.1)(model)
    changed = path.with_name("changed.onnx")
    write_sealed(model, changed)
    changed.with_suffix(".golden.npz").write_bytes(path.with_suffix(".golden.npz").read_bytes())
    options: dict[str, Any] = {"latency": False, "backends": ("pytorch-cpu", "ort-cpu")}
    report = rnnx.verify(changed, rnnx.VerifyOptions(model=module, **options))
    assert {row.backend: row.status for row in report.parity.rows} == {"pytorch-cpu": "pass", "ort-cpu": "fail"}
    (found,) = report.diagnoses
    assert found.backend == "ort-cpu"
    return found


@pytest.mark.parametrize(
    ("start", "layer", "node"),
    [
        ("first/", "'first'", "first/0/LSTM_0"),
        ("second/", "'second'", "second/0/GRU_0"),
        ("cell/", "'cell'", "cell/0/"),
    ],
)
def test_the_layer_whose_weights_differ_is_named(
    exported: tuple[Path, Stacked], start: str, layer: str, node: str
) -> None:
    found = diagnosis_of(exported, start)
    assert f"whose values differ from the module's is {layer}: by " in found.summary
    assert found.node.startswith(node)
    assert found.location is not None
    assert found.location.output == "output"
    if start == "first/":
        assert found.evidence == ("what it takes is right",)


def test_what_lies_before_the_layers_is_told(exported: tuple[Path, Stacked]) -> None:
    found = diagnosis_of(exported, "model.front")
    assert "'first'" in found.summary
    assert found.evidence[0].startswith("what it takes differs already: by ")
    assert found.remedy.startswith("look at what comes before the layer")


def test_what_lies_behind_the_layers_is_told(exported: tuple[Path, Stacked]) -> None:
    found = diagnosis_of(exported, "model.head")
    assert found.summary == "each recurrent layer gives the module's values in ONNX Runtime on the CPU"
    assert found.remedy.startswith("look at what comes after the recurrent layers")
