"""Nodes written one after the other, with the constants that they read."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper


class Constants:
    """The constants of a graph: equal ones are one initializer."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._names: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self.tensors: list[TensorProto] = []

    def name_of(self, value: NDArray[Any]) -> str:
        """The name of an initializer with this value."""
        key = value.dtype.str, value.shape, value.tobytes()
        if key not in self._names:
            self._names[key] = f"{self._prefix}{len(self._names)}"
            self.tensors.append(numpy_helper.from_array(value, self._names[key]))
        return self._names[key]


class NodeList:
    """Nodes in the order in which they run; values that they make begin with `prefix`."""

    def __init__(self, prefix: str, constants: Constants) -> None:
        self.prefix = prefix
        self.constants = constants
        self.nodes: list[NodeProto] = []

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Append a node with one output; returns its name."""
        name = output or f"{self.prefix}{operator}_{len(self.nodes)}"
        node_name = f"{self.prefix}{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=node_name, **attributes))
        return name

    def ints(self, *values: int) -> str:
        """An int64 vector."""
        return self.constants.name_of(np.array(values, np.int64))

    def scalar(self, value: int | bool) -> str:
        """A scalar, int64 or bool."""
        return self.constants.name_of(np.array(value, np.bool_ if isinstance(value, bool) else np.int64))
