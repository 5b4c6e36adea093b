"""What the files of models with loops are held against: their values at three sizes, and the operators in them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from tests.rnnx.tracing.eager_truth import assert_as_close, onnx_outputs
from torch import Tensor, nn

Dims = Mapping[str, Sequence[Any]]
SEQUENCE = ("B", "T", 5)


def assert_right(module: nn.Module, dims: Dims, path: Path) -> None:
    """Fail unless a file gives the module's values at three sizes."""
    for batch, time in ((1, 1), (2, 7), (3, 50)):
        inputs = inputs_of(dims, batch, time)
        outputs = onnx_outputs(path, {name: own.numpy() for name, own in inputs.items()})
        assert_as_close(list(outputs.values()), module, inputs, f"B{batch} T{time}")


def recurrences(path: Path) -> dict[str, int]:
    """How many recurrent operators and loops a file has, by kind."""
    counts = Counter(node.op_type for node in onnx.load(path).graph.node)
    return {kind: counts[kind] for kind in ("LSTM", "GRU", "RNN", "Scan") if counts[kind]}


def inputs_of(dims: Dims, batch: int, time: int) -> dict[str, Tensor]:
    """Seeded inputs of these dims; `tokens` are whole numbers."""
    sizes: dict[Any, Any] = {"B": batch, "T": time}
    chance = torch.Generator().manual_seed(100 * batch + time)
    shapes: dict[str, Any] = {name: [sizes.get(own, own) for own in shape] for name, shape in dims.items()}
    return {
        name: torch.randint(11, shape, generator=chance) if name == "tokens" else torch.randn(shape, generator=chance)
        for name, shape in shapes.items()
    }
