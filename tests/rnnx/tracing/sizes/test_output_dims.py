import contextlib
from collections.abc import Callable
from typing import Any

import torch
from tests.rnnx.tracing.traced_forward import traced

from rnnx.tracing.sizes.dims import DimNames, expression_of, output_values
from rnnx.tracing.sizes.output_dims import OutputDims
from rnnx_runtime.contract_json import LONGEST_DIM


def _dims(*sizes: Callable[[Any], Any]) -> tuple[int | str, ...]:
    """The dims of outputs of these sizes, made of a free one."""
    program = traced(
        lambda x: tuple(x.new_zeros(own(x.size(0))) for own in sizes), torch.zeros(9), contextlib.nullcontext()
    )
    shapes = [value.shape for value in output_values(program)]
    symbols = {symbol for shape in shapes for symbol in expression_of(shape[0]).free_symbols}
    dims = OutputDims(DimNames(names=dict.fromkeys(symbols, "T"), notes=()))
    return tuple(dims.of(shape)[0] for shape in shapes)


def _remainders(size: Any) -> Any:
    """28 at all sizes."""
    return sum((size + place) % 8 for place in range(8))


def _long(size: Any) -> Any:
    found = sum(size % divisor for divisor in range(3, 40))
    assert len(str(found)) > LONGEST_DIM
    return found


def test_what_is_padded_and_cut_again_is_as_long_as_it_was() -> None:
    assert _dims(lambda size: size + _remainders(size) - 28, _remainders, lambda size: size + 1) == ("T", 28, "T + 1")


def test_a_dim_that_no_contract_can_write_has_a_symbol_of_its_own() -> None:
    assert _dims(_long, lambda size: size, _long, lambda size: _long(size) + 1) == ("N1", "T", "N1", "N2")
