"""No node reads what is an output: a converter to half precision casts the one and would take the other for it."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

import rnnx


class Twice(nn.Module):
    """A model that gives its layer's output and goes on with it."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The layer's output and the head's."""
        output, _ = self.gru(x)
        return output, self.head(output)


def _whole(path: Path) -> None:
    rnnx.export(Twice().eval(), path, example_inputs=(torch.zeros(4, 2, 3),))


EXPORTS: dict[str, Callable[[Path], object]] = {
    "step": lambda path: rnnx.export(nn.LSTMCell(3, 4), path),
    "unrolled": lambda path: rnnx.export(nn.GRUCell(3, 4), path, rnnx.ExportOptions(form="unrolled", steps=3)),
    "scan": lambda path: rnnx.export(nn.LSTM(3, 4, 2, proj_size=2), path, rnnx.ExportOptions(lengths=True)),
    "whole": _whole,
}


@pytest.mark.parametrize("export", EXPORTS.values(), ids=EXPORTS)
def test_no_node_reads_an_output(tmp_path: Path, export: Callable[[Path], object]) -> None:
    export(tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx").graph
    read = {name for node in graph.node for name in node.input}
    assert not read & {value.name for value in graph.output}


@pytest.mark.parametrize("lengths", [True, False], ids=["lengths", "whole-rows"])
def test_no_layer_asks_for_a_part_of_a_shape(tmp_path: Path, lengths: bool) -> None:
    """ONNX Runtime's symbolic shape inference knows no `start` and `end` of Shape."""
    options = rnnx.ExportOptions(lengths=lengths, stateful=False)
    rnnx.export(nn.LSTM(3, 4, proj_size=2), tmp_path / "model.onnx", options)
    shapes = [node for node in onnx.load(tmp_path / "model.onnx").graph.node if node.op_type == "Shape"]
    assert shapes
    assert not any(own.i for node in shapes for own in node.attribute)
