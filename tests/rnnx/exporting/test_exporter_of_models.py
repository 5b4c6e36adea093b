"""`rnnx.export` with example inputs; the exports themselves are tested in `tests/rnnx/tracing`."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import rnnx
import rnnx_runtime
from rnnx.errors import CheckpointError, OptionError


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(5, 6, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(x)[0])  # type: ignore[no-any-return]


def test_a_model_with_example_inputs_is_exported_whole(tmp_path: Path) -> None:
    model, x = Tagger().eval(), torch.randn(2, 4, 5)
    report = rnnx.export(model, tmp_path / "tagger.onnx", rnnx.ModelOptions(), example_inputs=(x,))
    longer = torch.randn(3, 7, 5)
    with rnnx_runtime.load(report.path) as session:
        outputs, _ = session.run({"x": longer.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(outputs["output"]), model(longer))


def test_a_model_without_example_inputs_gives_no_layer_without_being_asked(tmp_path: Path) -> None:
    expected = r"a Tagger with 2 tensors besides its layer 'rnn', such as head\.weight.*example_inputs.*module='rnn'"
    with pytest.raises(OptionError, match=expected):
        rnnx.export(Tagger(), tmp_path / "layer.onnx")
    report = rnnx.export(Tagger(), tmp_path / "layer.onnx", rnnx.ExportOptions(module="rnn"))
    assert (report.contract.layer().form, report.contract.source.module) == ("encoder", "rnn")


def test_a_wrapper_of_a_layer_alone_is_the_layer(tmp_path: Path) -> None:
    wrapped = nn.ModuleDict({"rnn": nn.GRU(3, 5)})
    assert rnnx.export(wrapped, tmp_path / "layer.onnx").contract.source.module == "rnn"


def test_a_class_and_a_path_that_is_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="got the class Tagger"):
        rnnx.export(Tagger, tmp_path / "m.onnx")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="path: got int"):
        rnnx.export(nn.GRU(3, 5), 3)  # type: ignore[arg-type]


def test_a_factorys_name_takes_no_example_inputs(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="got them for the factory models:tagger"):
        rnnx.export("models:tagger", tmp_path / "m.onnx", example_inputs=(torch.zeros(2, 3, 5),))


def test_example_inputs_for_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"got them for the file best\.pt, expected a module"):
        rnnx.export(tmp_path / "best.pt", tmp_path / "m.onnx", example_inputs=())


@pytest.mark.parametrize(
    ("options", "examples", "expected"),
    [
        pytest.param(rnnx.ExportOptions(), (torch.zeros(2, 3, 5),), "ModelOptions or DecoderOptions", id="of-a-layer"),
        pytest.param(rnnx.ModelOptions(), None, "ExportOptions", id="of-a-model"),
        pytest.param(rnnx.FactoryOptions(), None, "ExportOptions", id="of-a-factory"),
    ],
)
def test_options_of_the_other_kind_are_refused(tmp_path: Path, options: Any, examples: Any, expected: str) -> None:
    with pytest.raises(OptionError, match=f"expected {expected}"):
        rnnx.export(Tagger().eval(), tmp_path / "m.onnx", options, example_inputs=examples)
    assert list(tmp_path.iterdir()) == []
