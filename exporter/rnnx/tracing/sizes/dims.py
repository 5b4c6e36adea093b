"""The names of a traced model's dims: `B` and `T` are those that reach a recurrent layer as batch and time."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy  # type: ignore[import-untyped]
import torch
from torch import Tensor
from torch.export import ExportedProgram

from rnnx.errors import OptionError, UntracedError
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.recurrence_nodes import RecurrenceNode, Size
from rnnx.tracing.sizes.picked_rows import picked_sizes, sizes_beside_picked
from rnnx_runtime.contract import Contract, Dim
from rnnx_runtime.contract_json import unsolved_symbols
from rnnx_runtime.dim_expressions import symbols_of


@dataclass(frozen=True, kw_only=True)
class DimNames:
    """The contract's name of each symbol of a trace, and notes on what was taken for the batch."""

    names: Mapping[sympy.Symbol, str]
    notes: tuple[str, ...]

    def dims(self, shape: Iterable[Size]) -> tuple[Dim, ...]:
        """A traced shape as the contract's dims."""
        return tuple(self._dim(size) for size in shape)

    def _dim(self, size: Size) -> Dim:
        return self.dim_of(expression_of(size))

    def dim_of(self, expression: Any) -> Dim:
        """An expression of a trace's symbols as one of the contract's."""
        if expression.is_Integer:
            return int(expression)
        renamed = {symbol: sympy.Symbol(name, integer=True) for symbol, name in self.names.items()}
        return str(expression.xreplace(renamed)).replace(
            "PythonMod(", "Mod("
        )  # they are equal where the second is positive


def free_axes(names: Sequence[str], tensors: Sequence[Tensor], options: ModelOptions) -> tuple[tuple[bool, ...], ...]:
    """Which axes of each input may vary: all, but none of a static export and none that `dims` fixes.

    Raises:
        OptionError: `dims` names an input that is not there, or has another count of axes.
    """
    shapes = dict(zip(names, (tuple(tensor.shape) for tensor in tensors), strict=True))
    for name, dims in options.dims.items():
        if len(shapes.get(name, ())) != len(dims) or name not in shapes:
            raise OptionError(
                "dims",
                got=f"{name} of {len(dims)} axes",
                expected=", ".join(f"{own} of {len(shape)}" for own, shape in shapes.items()),
                remedy="give a name or None for each axis of an input",
            )
    return tuple(
        tuple(
            not options.static and (name not in options.dims or options.dims[name][axis] is not None)
            for axis in range(tensor.dim())
        )
        for name, tensor in zip(names, tensors, strict=True)
    )


def name_dims(
    program: ExportedProgram,
    inputs: Mapping[str, Sequence[Size]],
    recurrences: Sequence[RecurrenceNode],
    options: ModelOptions,
) -> DimNames:
    """Names for all symbols: those that `dims` gives, then B, T, and D1, D2 in the inputs' order.

    An output has a symbol of its own where its size depends on values, such as on how many elements of a mask are true.

    Raises:
        OptionError: `dims` names an axis that the model fixes.
    """
    outputs = [size for value in output_values(program) for size in value.shape]
    names: dict[sympy.Symbol, str] = {}
    derived: list[tuple[str, str, Size]] = []
    for name, dims in options.dims.items():
        for size, own in zip(inputs[name], dims, strict=True):
            if own is None or options.static:
                continue
            if expression_of(size).is_Integer:
                raise _fixed_axis(name, own, size)
            symbol = _symbol_of_multiple(expression_of(size))
            if symbol is not None and (symbol == expression_of(size) or own == "T"):
                names[symbol] = own
            else:
                derived.append((name, own, size))
    ordered = _symbols(inputs)
    batches = [own.batch for own in recurrences] or [shape[0] for shape in inputs.values() if shape]
    for name, sizes in (("B", batches), ("T", [own.time for own in recurrences])):
        candidates = [symbol for size in sizes if size is not None for symbol in _by_order(size, ordered)]
        chosen = next((symbol for symbol in candidates if symbol not in names), None)
        if chosen is not None and name not in names.values():
            names[chosen] = name
    made = sorted({own for size in outputs for own in expression_of(size).free_symbols} - {*ordered}, key=str)
    joined = _joined_batch(inputs, names, options, picked_sizes(program))
    names |= dict.fromkeys(joined.values(), "B")
    rest = [symbol for symbol in (*ordered, *made) if symbol not in names]
    names |= {symbol: f"D{index}" for index, symbol in enumerate(rest, start=1)}
    found = DimNames(names=names, notes=())
    notes = [f"{own} of {name} is {found.dims([size])[0]}: the model wants it so" for name, own, size in derived]
    return DimNames(names=names, notes=(*_joined_notes(joined, inputs), *notes))


def input_shapes(program: ExportedProgram, names: Sequence[str]) -> dict[str, tuple[Size, ...]]:
    """The traced shape of each of the program's inputs, under the contract's names."""
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    found = (nodes[own].meta["val"].shape for own in program.graph_signature.user_inputs)
    return dict(zip(names, map(tuple, found), strict=True))


def output_values(program: ExportedProgram) -> list[Tensor]:
    """The traced results, which have shapes and dtypes and no values."""
    by_name: dict[str, Any] = {node.name: node for node in program.graph.nodes}
    return [by_name[str(name)].meta["val"] for name in program.graph_signature.user_outputs]


def expression_of(size: Size) -> Any:
    """A size as a sympy expression."""
    return size.node.expr if isinstance(size, torch.SymInt) else sympy.Integer(size)


def _symbol_of_multiple(expression: Any) -> Any:
    """The symbol of `T`, and of `4*T`, which a stream takes; None of anything else."""
    symbols = expression.free_symbols
    symbol = next(iter(symbols)) if len(symbols) == 1 else None
    return symbol if symbol is not None and (expression / symbol).is_Integer else None


def _joined_batch(
    inputs: Mapping[str, Sequence[Size]],
    names: Mapping[sympy.Symbol, str],
    options: ModelOptions,
    picked: Collection[sympy.Symbol],
) -> dict[str, sympy.Symbol]:
    """Inputs of which an axis is the batch by the example alone, which the model's indexing leaves open.

    `x[rows]` and `torch.gather` take fewer rows than there are, so a trace knows two sizes where the model has one.
    So does `x[:, rows]`, where time or layers stand first.
    """
    sizes = {
        expression_of(size): size.node.hint
        for shape in inputs.values()
        for size in shape
        if isinstance(size, torch.SymInt)
    }
    batch = {sizes[symbol] for symbol, name in names.items() if name == "B" and symbol in sizes}
    found = {}
    for name, shape in inputs.items():
        symbols = [_free_symbol(size) for size in shape]
        if name in options.dims or "B" in map(names.get, symbols):
            continue
        places = 2 if symbols and names.get(symbols[0]) == "T" else 1
        open_ones = [*symbols[:places], *(symbol for symbol in symbols[places:] if symbol in picked)]
        own = next((own for own in open_ones if own in sizes and own not in names and sizes[own] in batch), None)
        if own is not None:
            found[name] = own
    return found


def _free_symbol(size: Size) -> Any:
    """The symbol that a size is; None for a number, and for what is calculated."""
    return expression_of(size) if isinstance(expression_of(size), sympy.Symbol) else None


def _joined_notes(joined: Mapping[str, sympy.Symbol], inputs: Mapping[str, Sequence[Size]]) -> Iterator[str]:
    for name, symbol in joined.items():
        axis = [_free_symbol(size) for size in inputs[name]].index(symbol)
        yield (
            f"axis {axis} of {name} is taken for the batch, for it has the batch's size in the example: "
            "where it is something else, name it by dims or give an example of another size"
        )


def _symbols(inputs: Mapping[str, Sequence[Size]]) -> list[sympy.Symbol]:
    found = [
        symbol
        for shape in inputs.values()
        for size in shape
        for symbol in sorted(expression_of(size).free_symbols, key=str)
    ]
    return list(dict.fromkeys(found))


def _by_order(size: Size, ordered: list[sympy.Symbol]) -> list[sympy.Symbol]:
    symbols = expression_of(size).free_symbols
    return [symbol for symbol in ordered if symbol in symbols]


def axes_to_fix(
    program: ExportedProgram,
    inputs: Mapping[str, Sequence[Size]],
    recurrences: Sequence[RecurrenceNode],
    states: Sequence[str],
) -> set[tuple[str, int]]:
    """The free axes, by input and place, that no batch and no time can be, for the model wants one size there.

    A trace that takes a size of one for any size leaves an axis that must be one a range of 1 to 2 in place of a
    number. And a state of several layers that `forward` takes apart (`h[0]`, `h[1]`) has as many as it takes, unless
    its rows are picked by a tensor. The widths of what is joined in front of a weight (`12 - D1` and `D1`) are free
    in their sum alone.
    """
    sizes = [size for own in recurrences for size in (own.batch, own.time) if size is not None]
    moving = {symbol for size in sizes for symbol in expression_of(size).free_symbols}
    shared = [_given_and_taken(size) for shape in inputs.values() for size in shape]
    picked = picked_sizes(program)
    fixed = (_bounded(program) | sizes_beside_picked(program)).union(
        *(symbols for symbols in shared if not symbols & moving)
    )
    return {
        (name, axis)
        for name, shape in inputs.items()
        for axis, size in enumerate(shape)
        if (symbols := expression_of(size).free_symbols) and not symbols & moving
        if symbols & fixed
        or (name in states and isinstance(expression_of(size), sympy.Symbol) and not symbols & picked)
    }


def _given_and_taken(size: Size) -> set[Any]:
    """The symbols of a size that is smaller the larger one of them is."""
    expression = expression_of(size)
    shrinks = any(term.free_symbols and term.could_extract_minus_sign() for term in sympy.Add.make_args(expression))
    return set(expression.free_symbols) if shrinks else set()


def refuse_unsolved_dims(contract: Contract) -> None:
    """Refuse inputs whose sizes do not say every symbol, or not in a way that a session could solve.

    Raises:
        UntracedError: names the input.
    """
    unsolved = unsolved_symbols(contract)
    for spec in contract.inputs:
        odd = [
            dim for dim in spec.dims if isinstance(dim, str) and (not symbols_of(dim) or {*symbols_of(dim)} & unsolved)
        ]
        if odd:
            raise UntracedError(
                f"input {spec.name!r} {spec.shape}",
                got=f"a size of {odd[0]}, from which nobody can tell what it is made of",
                expected="inputs whose sizes say every dim",
                remedy="fix the axis: a size in place of a symbol in --input, None in dims",
            )


def _fixed_axis(name: str, own: str, size: Size) -> OptionError:
    return OptionError(
        "dims",
        got=f"{own!r} for an axis of {name}",
        expected=f"None there: the model fixes it at {size}",
        remedy=f"fix the axis ({size} in place of {own} in --input, None in dims), or let the model take any size",
    )


def _bounded(program: ExportedProgram) -> set[Any]:
    return {symbol for symbol, bounds in program.range_constraints.items() if bounds.upper <= 2}
