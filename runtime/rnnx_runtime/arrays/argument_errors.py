"""Errors about the arguments of a run, with the names, shapes and sizes that the model has."""

from collections.abc import Mapping, Sequence
from typing import Any

from rnnx_runtime.contract import Contract, TensorSpec
from rnnx_runtime.dim_expressions import size_of, symbols_of
from rnnx_runtime.errors import InputError


def unfit_names(what: str, got: str, known: Sequence[TensorSpec], remedy: str) -> InputError:
    """The error for other names than the `known` ones."""
    return InputError(what, got=got, expected=_listed(known) or f"no {what}", remedy=remedy)


def unexpected(name: str, model: str, remedy: str) -> InputError:
    """The error for an argument that this model does not take."""
    return InputError(name, got=f"{name} for {model}", expected=f"no {name}", remedy=remedy)


def no_state(contract: Contract, got: str, remedy: str = "") -> InputError:
    """The error for what is not the model's state."""
    names = tuple(spec.name for spec in contract.state_specs)
    bare = {("h0",): "State(h)", ("h0", "c0"): "State(h, c)"}.get(names)
    usual = f"give {bare}" if bare else "give the state that the last call returned, or a mapping of all its names"
    return InputError("state", got=got, expected=f"a State of {_listed(contract.state_specs)}", remedy=remedy or usual)


def other_states(contract: Contract, state: Mapping[str, Any]) -> InputError:
    """The error for a mapping with other names than the model's states."""
    names = [spec.name for spec in contract.state_specs]
    unknown = [name for name in state if name not in names]
    if unknown and unknown[0] in {spec.name for spec in contract.inputs}:
        return no_state(contract, repr(unknown[0]), "it is an input: give it in the first argument")
    missing = [name for name in names if name not in state]
    return no_state(contract, repr(unknown[0]) if unknown else f"no {missing[0]!r}")


def unsized_state(spec: TensorSpec, sizes: Mapping[str, int]) -> InputError:
    """The error for a state that was left out, and whose shape no input says."""
    unknown = next(own for dim in spec.dims for own in symbols_of(dim) if own not in sizes)
    return InputError(
        f"state {spec.name!r}",
        got="none",
        expected=f"{spec.dtype} {spec.shape}",
        remedy=f"give it: no input says how large {unknown} is",
    )


def other_sizes(contract: Contract, spec: TensorSpec, shape: tuple[int, ...], sizes: Mapping[str, int]) -> InputError:
    """The error for a state of other sizes than the inputs'."""
    pairs = zip(spec.dims, shape, strict=True)
    dim, size = next((str(dim), size) for dim, size in pairs if size_of(dim, sizes) != size)
    symbols = {*symbols_of(dim)}
    first = next(own for own in contract.plain_inputs if symbols & {s for other in own.dims for s in symbols_of(other)})
    what = "batch " if dim == "B" else f"{dim}="
    return InputError(
        f"state {spec.name!r}",
        got=f"{what}{size}",
        expected=f"{what}{size_of(dim, sizes)}, as in {first.name}",
        remedy=f"{first.name} is {first.shape} here; {_layout_hint(contract)}",
    )


def _layout_hint(contract: Contract) -> str:
    bare = contract.bare
    if bare is None or bare.form != "encoder":
        return "give both the same sizes"
    other = "(T, B, I)" if bare.batch_first else "(B, T, I)"
    return f"if your data is {other}, swap its first two axes"


def _listed(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{spec.name} {spec.dtype} {spec.shape}" for spec in specs)
