"""Values of a trace that depend on the number of frames alone, such as masks, computed for one such number."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node

from rnnx.tracing.sizes.dims import expression_of
from rnnx.tracing.streams.fills import number_of_fill
from rnnx.tracing.streams.operands import name_of
from rnnx.tracing.streams.timelines import StreamAxes


class FixedValues:
    """Which values of a program come from no input's values, and what they are for a number of frames."""

    def __init__(self, program: ExportedProgram, axes: StreamAxes) -> None:
        self._program, self._axes = program, axes
        self._given = frozenset(program.graph_signature.user_inputs)
        self._fixed: dict[Node, bool] = {}

    def is_fixed(self, node: Node) -> bool:
        """Whether a value depends on weights, constants and sizes alone."""
        if node not in self._fixed:
            value = node.meta.get("val")
            if isinstance(value, torch.SymInt | int) or number_of_fill(node) is not None:
                self._fixed[node] = True
            elif node.op == "placeholder":
                self._fixed[node] = node.name not in self._given
            else:
                self._fixed[node] = node.op == "get_attr" or all(map(self.is_fixed, node.all_input_nodes))
        return self._fixed[node]

    def at(self, nodes: Iterable[Node], frames: int, given: Mapping[Node, Tensor]) -> dict[Node, Any]:
        """The values `nodes` have where the inputs have so many frames, one row, and some nodes these values; floats
        are float64."""
        values: dict[Node, Any] = dict(given)
        wanted = self._before(nodes, given)
        for node in self._program.graph.nodes:
            if node in wanted and node not in values:
                values[node] = self._value(node, values, frames)
        return values

    def shape(self, node: Node, frames: int) -> list[int]:
        """The shape of a value for so many frames of one row."""
        return [self._size(size, frames) for size in node.meta["val"].shape]

    def _before(self, nodes: Iterable[Node], given: Mapping[Node, Tensor]) -> set[Node]:
        """All that the nodes are computed from, and what is written into that in place."""
        found, waiting = set[Node](), list(nodes)
        while waiting:
            own = waiting.pop()
            if own in found:
                continue
            found.add(own)
            waiting += [user for user in own.users if _writes_into(user, own)]
            if own not in given and number_of_fill(own) is None and not _is_size(own):
                waiting += own.all_input_nodes
        return found

    def _value(self, node: Node, values: Mapping[Node, Any], frames: int) -> Any:
        if _is_size(node):
            return self._size(node.meta["val"], frames)
        if node.op == "placeholder":
            return self._weight(node)
        if node.op == "get_attr":
            return _as_double(getattr(self._program.graph_module, str(node.target)))
        number = number_of_fill(node)
        if number is not None:
            dtype = node.meta["val"].dtype
            return torch.full(self.shape(node, frames), number, dtype=_double_of(dtype))
        target: Any = node.target
        return target(
            *_with_values(tuple(node.args), values),
            **{key: _with_values(own, values) for key, own in node.kwargs.items()},
        )

    def _weight(self, node: Node) -> Tensor:
        signature, name = self._program.graph_signature, str(node.target)
        constants = signature.inputs_to_lifted_tensor_constants
        if name in constants:
            return _as_double(self._program.constants[constants[name]])
        own = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}[name]
        held = self._program.state_dict
        return _as_double(held[own] if own in held else self._program.constants[own])

    def _size(self, size: Any, frames: int) -> int:
        return int(expression_of(size).subs({self._axes.time: frames, self._axes.batch: 1}))


def _is_size(node: Node) -> bool:
    return isinstance(node.meta.get("val"), torch.SymInt)


def _writes_into(user: Node, own: Node) -> bool:
    name = name_of(user)
    return name.endswith("_") and not name.startswith("_") and bool(user.args) and user.args[0] is own


def _with_values(argument: Any, values: Mapping[Node, Any]) -> Any:
    if isinstance(argument, Node):
        return values[argument]
    if isinstance(argument, torch.dtype):
        return _double_of(argument)
    if isinstance(argument, tuple | list):
        return type(argument)(_with_values(own, values) for own in argument)
    return argument


def _double_of(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype.is_floating_point else dtype


def _as_double(value: Any) -> Tensor:
    found: Tensor = value.detach()
    return found.to(_double_of(found.dtype)).clone()
