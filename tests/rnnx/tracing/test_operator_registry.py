"""torch.onnx's table of operators is built once for an opset, and left as it was for others."""

import torch
from torch.onnx._internal.exporter._registration import ONNXRegistry

from rnnx.tracing.operator_registry import kept_registry


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
