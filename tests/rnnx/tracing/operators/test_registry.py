"""torch.onnx's table of operators is built once for an opset, and left as it was for others; composites likewise."""

from pathlib import Path
from unittest import mock

import torch
from tests.rnnx.tracing.eager_truth import assert_as_close, onnx_outputs
from torch import Tensor, nn
from torch._export import utils
from torch.onnx._internal.exporter._registration import ONNXRegistry

from rnnx.tracing.exporting import export_model
from rnnx.tracing.operators.registry import composites_listed_once, kept_registry


def test_second_export_takes_the_table_of_the_first() -> None:
    with kept_registry():
        first = ONNXRegistry().from_torchlib(opset_version=18)
        second = ONNXRegistry.from_torchlib(opset_version=18)
        other = ONNXRegistry.from_torchlib(opset_version=19)

    assert first is second
    assert first is not other
    assert first.is_registered(torch.ops.aten.relu.default)


def test_other_callers_of_torch_onnx_get_a_table_of_their_own() -> None:
    with kept_registry():
        kept = ONNXRegistry.from_torchlib(opset_version=18)

    assert ONNXRegistry.from_torchlib(opset_version=18) is not kept


def test_composite_operators_are_looked_up_once_in_a_block_and_anew_in_the_next() -> None:
    with mock.patch.object(utils, "_materialize_cpp_cia_ops") as look_up:
        for _ in range(2):
            with composites_listed_once():
                utils._collect_all_valid_cia_ops_for_namespace(torch.ops.prim)
                utils._collect_all_valid_cia_ops_for_namespace(torch.ops.prim)

    assert look_up.call_count == 2


def test_the_composite_operators_are_the_same() -> None:
    expected = utils._collect_all_valid_cia_ops()
    with composites_listed_once():
        assert utils._collect_all_valid_cia_ops() == expected


class Dropped(nn.Module):
    """Drops channels in training, and so gives its input back in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.dropout, self.gru = nn.Conv2d(1, 2, 3, padding=1), nn.Dropout2d(0.5), nn.GRU(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        images = self.dropout(self.conv(x.unsqueeze(1)))
        output: Tensor = self.gru(images.permute(2, 0, 1, 3).flatten(2))[0]
        return output


def test_an_operator_that_gives_its_input_back_is_written(tmp_path: Path) -> None:
    module = Dropped().eval()
    path = export_model(module, (torch.randn(2, 9, 4),), tmp_path / "m.onnx").path
    inputs = {"x": torch.randn(3, 5, 4)}
    assert_as_close([*onnx_outputs(path, {"x": inputs["x"].numpy()}).values()], module, inputs, "B=3, T=5")
