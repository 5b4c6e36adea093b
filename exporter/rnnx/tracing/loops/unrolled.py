"""A traced program as a list of instructions in the order of execution, in which equal steps are equal pieces."""

import operator
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import sympy  # type: ignore[import-untyped]
import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node
from torch.utils import _pytree as pytree

from rnnx.tracing.loops.values import (
    TENSOR_VALUES,
    Constant,
    Filled,
    Input,
    Instruction,
    Ref,
    Size,
    Slice,
    Weight,
    size_symbol,
)
from rnnx.tracing.opaque_layers import DOMAIN

_SAME = frozenset(("alias", "detach", "detach_", "lift_fresh_copy", "lift_fresh"))
_FILLED = {
    "zeros": 0, "ones": 1, "full": None, "new_zeros": 0, "new_ones": 1, "new_full": None, "zeros_like": 0,
    "ones_like": 1, "full_like": None, "scalar_tensor": None, "empty": 0, "new_empty": 0, "empty_like": 0,
}  # fmt: skip
"""Operators that make a tensor of one number, and the number where the operator's name says it."""

_SPLITS = frozenset(("split", "split_with_sizes", "chunk", "tensor_split"))

_END = sys.maxsize


class ReadingError(Exception):
    """A program with something in it that no list of instructions has, such as a branch or a size made of values."""


@dataclass(frozen=True, kw_only=True)
class Unrolled:
    """A program at one length of its loops: instructions, results, and the length."""

    instructions: tuple[Instruction, ...]
    results: tuple[Any, ...]
    length: int


def unrolled(program: ExportedProgram, length: int) -> Unrolled:
    """Read a program that was traced with loops of this length.

    Raises:
        ReadingError: a branch or loop of the graph, or a size that no input's size gives.
    """
    if any(_is_mutating(node) for node in program.graph.nodes):
        program = program.run_decompositions({})
    return _Reader(program).read(length)


class _Reader:
    """Goes over a program's nodes once. `values` holds what a node reads as."""

    def __init__(self, program: ExportedProgram) -> None:
        self._program = program
        self._values: dict[Node, Any] = {}
        self._symbols: dict[sympy.Symbol, sympy.Symbol] = {}
        self._instructions: list[Instruction] = []

    def read(self, length: int) -> Unrolled:
        """All instructions and results."""
        self._read_inputs()
        for node in self._program.graph.nodes:
            if node.op == "call_function":
                self._read_call(node)
            elif node.op == "get_attr":
                raise ReadingError("a branch or loop of the graph")
        results = next(node for node in self._program.graph.nodes if node.op == "output").args[0]
        found = tuple(self._value(own) for own in results)
        return Unrolled(instructions=tuple(self._instructions), results=found, length=length)

    def _read_inputs(self) -> None:
        signature = self._program.graph_signature
        weights = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        constants = signature.inputs_to_lifted_tensor_constants
        places = {name: place for place, name in enumerate(signature.user_inputs)}
        for node in self._program.graph.nodes:
            if node.op != "placeholder":
                continue
            if node.name in weights:
                self._values[node] = Weight(name=weights[node.name].removeprefix("model."))
            elif node.name in constants:
                self._values[node] = Constant(tensor=self._program.constants[constants[node.name]].detach())
            elif node.name in places:
                self._values[node] = Input(place=places[node.name])
                self._read_sizes(node, places[node.name])

    def _read_sizes(self, node: Node, place: int) -> None:
        for axis, size in enumerate(node.meta["val"].shape):
            expression = size.node.expr if isinstance(size, torch.SymInt) else None
            if isinstance(expression, sympy.Symbol):
                self._symbols.setdefault(expression, size_symbol(place, axis))

    def _read_call(self, node: Node) -> None:
        value = node.meta.get("val")
        if value is None or isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool | int | float | bool):
            return  # sizes are read as expressions where they are used, and checks of the trace check nothing at run
        name = _name(node)
        if name in _SAME or self._is_whole_slice(node):
            self._values[node] = self._value(node.args[0])
        elif name in _FILLED:
            self._values[node] = self._filled(node, name)
        elif node.target is operator.getitem:
            self._read_part(node)
        elif name == "unbind" or (name in _SPLITS and _is_in_steps(value, node)):
            return  # its parts are slices of what it splits
        elif (found := self._slice_of(node)) is not None:
            self._values[node] = found
        elif _overwrites(node):
            self._values[node] = self._value(node.args[1])
        else:
            self._values[node] = Ref(place=self._append(node))

    def _read_part(self, node: Node) -> None:
        whole: Any = node.args[0]
        index: Any = node.args[1]
        name, parts = _name(whole), whole.meta["val"]
        if name == "unbind":
            self._values[node] = self._slice(whole.args[0], _dim(whole, 1, whole.args[0]), index, 1, keeps=False)
        elif name in _SPLITS and _is_in_steps(parts, whole):
            self._values[node] = self._slice(whole.args[0], _dim(whole, 2, whole.args[0]), index, 1, keeps=True)
        else:
            self._values[node] = replace(self._value(whole), part=index)

    def _slice_of(self, node: Node) -> Slice | None:
        """The slice that a node is; None for none, and for one whose ends are no numbers."""
        source: Any = node.args[0] if node.args else None
        name = _name(node)
        if name == "select":
            axis, start = _dim(node, 1, source), node.args[2]
            if type(start) is int:
                return self._slice(source, axis, _from_start(start, source, axis), 1, keeps=False)
        elif name in ("slice", "narrow"):
            axis = _dim(node, 1, source)
            first, last = _bounds(node, source, axis)
            if type(first) is int and type(last) is int:
                return self._slice(source, axis, first, last - first, keeps=True)
        elif name in ("index", "index_select"):
            place = self._constant_index(node)
            if place is not None:
                return self._slice(source, place[0], _from_start(place[1], source, place[0]), 1, keeps=True)
        return None

    def _slice(self, source: Node, axis: int, start: int, length: int, *, keeps: bool) -> Slice:
        return Slice(source=self._value(source), axis=axis, start=start, length=length, keeps=keeps)

    def _constant_index(self, node: Node) -> tuple[int, int] | None:
        """The axis and index of `x[[3]]`."""
        if _name(node) == "index_select":
            axis, index = _dim(node, 1, node.args[0]), node.args[2]
        else:
            indices: Any = node.args[1]
            given = [place for place, own in enumerate(indices) if own is not None]
            if len(given) != 1:
                return None
            axis, index = given[0], indices[given[0]]
        found = self._values.get(index)  # type: ignore[arg-type]
        if isinstance(found, Constant) and found.tensor.shape == (1,) and not found.tensor.is_floating_point():
            return None if found.tensor.dtype == torch.bool else (axis, int(found.tensor[0]))
        return None

    def _is_whole_slice(self, node: Node) -> bool:
        if _name(node) != "slice":
            return False
        return _is_whole((*node.args[2:], None, None, None)[:3])

    def _filled(self, node: Node, name: str) -> Filled:
        value: Tensor = node.meta["val"]
        number: Any = _FILLED[name]
        if number is None:
            place = 0 if name == "scalar_tensor" else 1 if name in ("full", "full_like") else 2
            number = node.args[place] if len(node.args) > place else node.kwargs["fill_value"]
            number = self._value(number) if isinstance(number, Node) else number
        return Filled(sizes=self._shape(value), value=number, dtype=value.dtype)

    def _append(self, node: Node) -> int:
        leaves, structure = pytree.tree_flatten((tuple(node.args), dict(node.kwargs)))
        found = tuple(map(self._value, leaves))
        if node.kwargs.get("domain") == DOMAIN:
            found = self._with_states(node, found)
        self._instructions.append(self._instruction(node, found, structure))
        return len(self._instructions) - 1

    def _with_states(self, node: Node, leaves: tuple[Any, ...]) -> tuple[Any, ...]:
        """The same with zeros for a recurrent layer's states where it is given none."""
        inputs: Any = node.args[0]
        states = node.meta["val"][1:] if inputs[1] is None else ()
        zeros = (Filled(sizes=self._shape(own), value=0, dtype=own.dtype, left_out=True) for own in states)
        return (leaves[0], *zeros, *leaves[1 + len(states) :])

    def _instruction(self, node: Node, leaves: tuple[Any, ...], structure: Any) -> Instruction:
        value = node.meta["val"]
        tensors = [own for own in pytree.tree_leaves(value) if isinstance(own, Tensor)]
        return Instruction(
            target=node.target,
            leaves=leaves,
            structure=structure,
            shapes=tuple(map(self._shape, tensors)),
            token=_token(node.target, leaves, structure, tensors),
            meta=node.meta,
        )

    def _value(self, leaf: Any) -> Any:
        """What an argument reads as: a value of the program, a size, or a plain number or name."""
        if isinstance(leaf, torch.SymInt | torch.SymFloat):
            return self._size(leaf)
        if not isinstance(leaf, Node):
            return leaf
        if leaf in self._values:
            return self._values[leaf]
        value = leaf.meta.get("val")
        if isinstance(value, torch.SymInt | torch.SymFloat):
            return self._size(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
        raise ReadingError(f"a value that is no tensor, {leaf.name}")

    def _shape(self, value: Tensor) -> tuple[sympy.Expr, ...]:
        return tuple(self._expression(size) for size in value.shape)

    def _size(self, size: Any) -> Any:
        expression = self._expression(size)
        return int(expression) if expression.is_Integer else Size(expression=expression)

    def _expression(self, size: Any) -> sympy.Expr:
        if not isinstance(size, torch.SymInt | torch.SymFloat):
            return sympy.Integer(size)
        expression = size.node.expr
        unknown = expression.free_symbols - self._symbols.keys()
        if unknown:
            raise ReadingError(f"a size that no input has, {expression}")
        return expression.xreplace(self._symbols)


def _name(node: Node) -> str:
    return str(getattr(node.target, "__name__", node.target)).split(".")[0]


def _is_mutating(node: Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return node.op == "call_function" and schema is not None and schema.is_mutable and _name(node) != "detach_"


def _is_alike(one: Any, other: Any) -> bool:
    """Whether two tensors have one shape and dtype, so that a copy of one into the other is the one."""
    first, second = one.meta["val"], other.meta["val"]
    return bool(first.dtype == second.dtype and str(tuple(first.shape)) == str(tuple(second.shape)))


def _overwrites(node: Node) -> bool:
    """Whether a node puts a tensor in the place of a whole other one."""
    if _name(node) == "copy":
        return _is_alike(node.args[0], node.args[1])
    return _name(node) == "slice_scatter" and _is_whole((*node.args[3:], None, None, None)[:3])


def _is_whole(bounds: Any) -> bool:
    first, last, step = bounds
    return first in (None, 0) and (last is None or last == _END) and step in (None, 1)


def _dim(node: Node, place: int, source: Any) -> int:
    dim: Any = node.args[place] if len(node.args) > place else node.kwargs.get("dim", 0)
    return int(dim % max(1, source.meta["val"].dim()))


def _from_start(index: int, source: Any, axis: int) -> Any:
    """An index from the axis's beginning; one from the end of a free axis stays as it is."""
    size = source.meta["val"].shape[axis]
    return index + size if index < 0 and type(size) is int else index


def _bounds(node: Node, source: Any, axis: int) -> tuple[Any, Any]:
    """The first and the last place of a slice as numbers from the beginning; None where they are none."""
    first: Any
    last: Any
    if _name(node) == "narrow":
        first, length = node.args[2], node.args[3]
        return (first, first + length) if type(first) is int and type(length) is int else (None, None)
    first, last, step = (*node.args[2:], *(None, None, None))[:3]
    size = source.meta["val"].shape[axis]
    if step not in (None, 1) or type(size) is not int:
        fixed = step in (None, 1) and type(first) is int and type(last) is int and 0 <= first <= last < _END
        return (first, last) if fixed else (None, None)
    first, last = (0 if first is None else first), (size if last is None else last)
    if type(first) is not int or type(last) is not int:
        return None, None
    return max(0, min(size, first + size if first < 0 else first)), max(0, min(size, last + size if last < 0 else last))


def _is_in_steps(parts: Any, whole: Node) -> bool:
    """Whether a split's parts have one element each: they are steps of a sequence, and not halves of features."""
    axis = _dim(whole, 2, whole.args[0])
    return len(parts) > 1 and all(own.shape[axis] == 1 for own in parts)


def _token(target: Any, leaves: Sequence[Any], structure: Any, tensors: Sequence[Tensor]) -> Any:
    """What two instructions share that are the same but for numbers, states, and how many tensors a list has."""
    kinds = tuple(map(_kind, leaves))
    is_list = _gathers(target)
    results = tuple((own.dim(), own.dtype) for own in tensors)
    return (
        str(target),
        tuple(dict.fromkeys(kinds)) if is_list else kinds,
        None if is_list else str(structure),
        results,
    )


def _gathers(target: Any) -> bool:
    return str(getattr(target, "__name__", target)).split(".")[0] in ("stack", "cat")


def _kind(leaf: Any) -> Any:
    if isinstance(leaf, Weight):
        return leaf
    if isinstance(leaf, TENSOR_VALUES):
        return "tensor"
    if isinstance(leaf, Size) or (isinstance(leaf, int | float) and not isinstance(leaf, bool)):
        return "number"
    return str(leaf)
