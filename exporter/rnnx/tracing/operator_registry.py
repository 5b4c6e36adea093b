"""torch.onnx's table of operators, built once in a process: for each export it parses some 500 functions anew."""

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

_BUILT: dict[int, Any] = {}  # by opset; torch.onnx changes a table only where operators of a caller's own are added


@contextlib.contextmanager
def kept_registry() -> Iterator[None]:
    """Inside the block torch.onnx takes the table of an earlier export for the same opset, where this torch has one.

    The class is no public name of torch (checked with 2.9 to 2.14): without it every export builds its own table.
    """
    try:
        from torch.onnx._internal.exporter._registration import ONNXRegistry
    except ImportError:
        yield
        return
    build = ONNXRegistry.from_torchlib

    def kept(opset_version: int | None = None) -> ONNXRegistry:
        opset = -1 if opset_version is None else opset_version
        if opset not in _BUILT:
            _BUILT[opset] = build() if opset_version is None else build(opset_version)
        registry: ONNXRegistry = _BUILT[opset]
        return registry

    with mock.patch.object(ONNXRegistry, "from_torchlib", staticmethod(kept)):
        yield
