"""What every formulation builds with: an operator set, and weights that are filled in after the graph stands.

While the graph is built a weight is only a typed placeholder, so type inference runs on every node without copying a
weight; its values are made one tensor at a time when the model is written.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Protocol

import numpy as np
import spox.opset.ai.onnx.v17
from spox import Tensor, Var, argument

from rnnx.weights.weights import RecurrentWeights
from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Recurrence


@dataclass(frozen=True, kw_only=True)
class Weight:
    """A weight of the graph: its name, its shape, and how to make its float32 values."""

    name: str
    shape: tuple[int, ...]
    make: Callable[[], Array]


class GraphBuilder:
    """The operator set `op`, and the weights used so far with their placeholders."""

    def __init__(self) -> None:
        self.op: ModuleType = spox.opset.ai.onnx.v17
        self.weights: list[Weight] = []
        self.placeholders: dict[str, Var] = {}

    def weight(self, name: str, shape: tuple[int, ...], make: Callable[[], Array]) -> Var:
        """A float32 weight of the graph."""
        self.weights.append(Weight(name=name, shape=shape, make=make))
        self.placeholders[name] = argument(Tensor(np.float32, shape))
        return self.placeholders[name]

    def ints(self, *values: int) -> Var:
        """A constant int64 vector, such as a shape or axes; equal ones are one node."""
        return _constant(self.op, values)


@functools.cache  # over all graphs: to infer one's type takes as long as writing a layer's weights
def _constant(op: ModuleType, values: tuple[int, ...]) -> Var:
    result: Var = op.constant(value=np.array(values, np.int64))
    return result


def size_of_axis(graph: GraphBuilder, x: Var, axis: Var) -> Var:
    """The size of an axis, of the rank that `axis` has.

    Not `Shape` with a start and an end: ONNX Runtime's symbolic shape inference, which quantizers and Polygraphy call,
    takes that for the whole shape.
    """
    result: Var = graph.op.gather(graph.op.shape(x), axis, axis=0)
    return result


def zero_state(graph: GraphBuilder, x: Var, batch_axis: int, width: int) -> Var:
    """A state of zeros, `(B, width)`, for the rows of x: what PyTorch starts from where none is given."""
    op = graph.op
    rows = size_of_axis(graph, x, graph.ints(batch_axis))
    result: Var = op.constant_of_shape(op.concat([rows, graph.ints(width)], axis=0), value=np.zeros(1, np.float32))
    return result


class Formulation(Protocol):
    """One way to write a contract's recurrence as a graph: the outputs by name from the inputs by name."""

    def __call__(
        self, graph: GraphBuilder, contract: Recurrence, weights: RecurrentWeights, inputs: dict[str, Var]
    ) -> dict[str, Var]: ...
