"""What an exported graph is held against here: the module itself in float64, by no code of the exporter's."""

import copy
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from rnnx.parity.tolerances import TOLERANCES

Array = NDArray[Any]

PRODUCTS, DEPTH = 64, 32
"""The sums and the steps that the small models here pass through at most, for the floor of a limit."""


def tensors_of(nested: Any) -> list[Tensor]:
    """The tensors in nested arguments or results, in order."""
    return [leaf for leaf in pytree.tree_leaves(nested) if isinstance(leaf, Tensor)]


def eager_outputs(module: nn.Module, inputs: Mapping[str, Any], dtype: torch.dtype) -> list[Array]:
    """The results of a module with its weights and inputs in `dtype`."""
    own = copy.deepcopy(module).to(dtype)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch says once that it has no fast kernel for a projection
        results = own(**pytree.tree_map(lambda leaf: _converted(leaf, dtype), dict(inputs)))
    return [tensor.numpy() for tensor in tensors_of(results)]


def onnx_outputs(path: Path, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Every output of a file in ONNX Runtime by its name."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, dict(feeds)), strict=True))


def assert_as_close(found: Sequence[Array], module: nn.Module, inputs: Mapping[str, Any], case: str) -> None:
    """Fail unless each result is as close to the truth as PyTorch's own in float32, by the project's table."""
    truth, single = (eager_outputs(module, inputs, dtype) for dtype in (torch.float64, torch.float32))
    assert len(found) == len(truth), f"{case}: {len(found)} results, PyTorch has {len(truth)}"
    for place, (ours, true, theirs) in enumerate(zip(found, truth, single, strict=True)):
        subject = f"{case}, result {place}"
        assert ours.shape == true.shape, f"{subject}: {ours.shape}, expected {true.shape}"
        if true.dtype.kind != "f":
            assert np.array_equal(ours, true), f"{subject}: {ours}, expected {true}"
            continue
        assert ours.dtype == np.float32, f"{subject}: {ours.dtype}"
        error, limit = largest_error(ours, true), limit_of(theirs, true)
        assert error <= limit, f"{subject}: error {error:.2e}, limit {limit:.2e}"


def largest_error(values: Array, truth: Array) -> float:
    """The largest absolute difference; infinite where a value is no number."""
    difference = np.abs(values.astype(np.float64) - truth)
    return float(np.nan_to_num(difference, nan=np.inf).max(initial=0.0))


def limit_of(single: Array, truth: Array) -> float:
    """The largest error that passes beside PyTorch's own in float32."""
    magnitude = float(np.abs(truth).max(initial=0.0))
    return TOLERANCES["float32"].limit(largest_error(single, truth), PRODUCTS, DEPTH, magnitude)


def _converted(leaf: Any, dtype: torch.dtype) -> Any:
    return leaf.to(dtype) if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf
