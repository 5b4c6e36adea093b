"""PyTorch's own operators for loops as loops in Python, which a trace rolls like any other."""

import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from rnnx.tracing.turns import own_turn

_MODULES = ("torch._higher_order_ops.scan", "torch._higher_order_ops.while_loop")


@contextmanager
def python_loops() -> Iterator[None]:
    """Let `scan` and `while_loop` be loops in Python inside the block, one thread at a time.

    Their code is exchanged, not their names, which a model may have imported.
    """
    found = [(name.split(".")[-1], vars(sys.modules[name])) for name in _MODULES if name in sys.modules]
    functions: list[tuple[types.FunctionType, types.CodeType]] = []
    with own_turn():
        for name, globals_of_torch in found:
            function: types.FunctionType = globals_of_torch[name]
            stand_in, loop = _STAND_INS[name]
            globals_of_torch[f"_rnnx_{name}"] = loop
            functions.append((function, function.__code__))
            function.__code__ = stand_in.__code__
        try:
            yield
        finally:
            for function, code in functions:
                function.__code__ = code


def _scanned(combine: Callable[[Any, Any], Any], carry: Any, xs: Any, dim: int, reverse: bool) -> Any:
    """https://docs.pytorch.org/docs/main/higher_order_ops/scan.html; results are stacked along the axis of the scan.

    That is what PyTorch's code does; results of fewer axes than that are stacked along their first one.
    """
    dim %= pytree.tree_leaves(xs)[0].dim()
    leaves, structure = pytree.tree_flatten(xs)
    steps = list(zip(*(own.unbind(dim) for own in leaves), strict=True))
    results = []
    for step in reversed(steps) if reverse else steps:
        carry, result = combine(carry, pytree.tree_unflatten(list(step), structure))
        results.append(result)
    parts, structure = [pytree.tree_leaves(own) for own in results], pytree.tree_structure(results[0])
    stacked = [_stacked(own[::-1] if reverse else own, dim) for own in map(list, zip(*parts, strict=True))]
    return carry, pytree.tree_unflatten(stacked, structure)


def _stacked(results: list[Tensor], dim: int) -> Tensor:
    return torch.stack(results, dim if dim <= results[0].dim() else 0)


def _while_looped(condition: Callable[..., Any], body: Callable[..., Any], carried: Any) -> Any:
    """https://docs.pytorch.org/docs/main/higher_order_ops/while_loop.html."""
    while condition(*carried):
        carried = body(*carried)
    return carried


# The bodies below run with the globals of PyTorch's modules, where `_rnnx_scan` and `_rnnx_while_loop` stand.


def _scan(combine_fn: Any, init: Any, xs: Any, *, dim: Any = 0, reverse: Any = False) -> Any:
    return _rnnx_scan(combine_fn, init, xs, dim, reverse)  # type: ignore # noqa: F821


def _while_loop(cond_fn: Any, body_fn: Any, carried_inputs: Any) -> Any:
    return _rnnx_while_loop(cond_fn, body_fn, carried_inputs)  # type: ignore # noqa: F821


_STAND_INS = {"scan": (_scan, _scanned), "while_loop": (_while_loop, _while_looped)}
