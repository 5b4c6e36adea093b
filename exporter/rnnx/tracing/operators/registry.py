"""torch.onnx's tables of operators, built less often than it does: for each export it parses some 500 functions anew,
and lists all composite operators some 50 times."""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch

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
            _BUILT[opset] = _with_views(build() if opset_version is None else build(opset_version))
        registry: ONNXRegistry = _BUILT[opset]
        return registry

    with mock.patch.object(ONNXRegistry, "from_torchlib", staticmethod(kept)):
        yield


def _with_views(registry: Any) -> Any:
    """The table with `prims.view_of`, which PyTorch's decompositions leave where an operator gives its input back."""
    from onnxscript import opset18  # here, for its import takes long

    view_of = torch.ops.prims.view_of.default
    if not registry.is_registered(view_of):
        registry.register_op(view_of, lambda value: opset18.Identity(value))
    return registry


@contextlib.contextmanager
def composites_listed_once() -> Iterator[None]:
    """Inside the block, which adds no operators, torch looks its composite operators up once, not per namespace.

    The function is no public name of torch: without it each of its calls looks them all up.
    """
    try:
        from torch._export import utils

        look_up = utils._materialize_cpp_cia_ops
    except (ImportError, AttributeError):
        yield
        return
    with mock.patch.object(utils, "_materialize_cpp_cia_ops", functools.cache(look_up)):
        yield
