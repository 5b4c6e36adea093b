"""Example inputs from a description, `tokens:int64:B,T:0..99`, or from the module itself."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rnnx.errors import OptionError
from rnnx.extras import require
from rnnx.modules.example_bounds import MOST_BYTES, bytes_of, unfit_values
from rnnx.modules.factories import as_call
from rnnx_runtime.contract import LARGEST_SIZE
from rnnx_runtime.contract_json import MOST_AXES
from rnnx_runtime.printable import shown

if TYPE_CHECKING:
    import torch
    from torch import nn

FLOATS = ("float16", "bfloat16", "float32", "float64")
INTEGERS = ("int32", "int64")
DTYPES = (*FLOATS, *INTEGERS, "bool")

_SEED = 20515

_BATCH = 3
_SIZES = (19, 23, 29, 31, 37, 41, 43, 47)
"""Sizes of free dims other than B, long enough for a convolution or two; primes, for no product of two is another."""

_MOST_DIGITS = 40
"""Digits of a number that is read at all; no dtype takes an integer of half as many."""

_MOST_QUOTED = 200

_DIM = re.compile(r"(?:([A-Za-z]\w*)(?:=([1-9]\d*))?|([1-9]\d*))")
_GRAMMAR = "NAME:DTYPE:DIMS or NAME:DTYPE:DIMS:LOW..HIGH, such as tokens:int64:B,T:0..99"


@dataclass(frozen=True, kw_only=True)
class DescribedInput:
    """One input: its dims are sizes or symbols, `high` may be a symbol, the ends of the range are included."""

    name: str
    dtype: str
    dims: tuple[int | str, ...]
    low: float | None = None
    high: float | str | None = None


@dataclass(frozen=True, kw_only=True)
class DescribedInputs:
    """The inputs of a model, and the size that each of their symbols has in the example."""

    inputs: tuple[DescribedInput, ...]
    sizes: Mapping[str, int]

    @property
    def dims(self) -> dict[str, tuple[str | None, ...]]:
        """The symbols of each input's axes, as `ModelOptions.dims` has them."""
        return {own.name: tuple(dim if isinstance(dim, str) else None for dim in own.dims) for own in self.inputs}

    @property
    def lengths(self) -> tuple[str, ...]:
        """The inputs that hold sequence lengths: those whose values go up to a dim's size."""
        return tuple(own.name for own in self.inputs if isinstance(_range(own, self.sizes)[1], str))

    def tensors(self) -> dict[str, "torch.Tensor"]:
        """Seeded values for every input: floats from a normal distribution, or evenly from their range."""
        torch = require("torch", extra="export", purpose="making example inputs")
        generator = torch.Generator().manual_seed(_SEED)
        return {own.name: _tensor(torch, generator, own, self.sizes) for own in self.inputs}


def described_inputs(texts: Sequence[str]) -> DescribedInputs:
    """Read descriptions `NAME:DTYPE:DIMS[:LOW..HIGH]`.

    DIMS are sizes and symbols, joined with commas: `B,T,40`; `T=50` sets the size that a symbol has in the example.
    LOW and HIGH are the least and the largest value; HIGH may be a symbol, such as `1..T` for lengths. An integer
    input of one axis with "len" in its name has that range by itself.

    Raises:
        OptionError: a description that is not of this form, a name given twice, a symbol of two sizes, a size or a
            value beyond what its dtype takes, or more than `MOST_BYTES` in all.
    """
    inputs = tuple(map(_described, texts))
    for own in inputs:
        if [other.name for other in inputs].count(own.name) > 1:
            raise _refused(own.name, "the name twice", "each input once", "leave one out")
    sizes = _sizes(texts, inputs)
    for own in inputs:
        if isinstance(own.high, str) and own.high not in sizes:
            raise _refused(own.name, f"the end {_quoted(own.high)}", "a number or a dim of the inputs", "such as 1..T")
    described = DescribedInputs(inputs=inputs, sizes=sizes)
    _check_bounds(described)
    return described


def own_example_inputs(module: "nn.Module") -> tuple[Any, ...] | Mapping[str, Any] | None:
    """The inputs that a module brings: its `example_inputs`, or `example_input_array` as PyTorch Lightning has it."""
    for name in ("example_inputs", "example_input_array"):
        value = getattr(module, name, None)
        if isinstance(value, tuple | list | Mapping) or hasattr(value, "detach"):
            return as_call(value)
    return None


def _described(text: str) -> DescribedInput:
    name, dtype, dims, values = (*text.split(":"), "", "", "")[:4]
    if not name.isidentifier() or text.count(":") not in (2, 3):
        raise _refused(text, "this", _GRAMMAR, "the name is a parameter of forward")
    if dtype not in DTYPES:
        raise _refused(text, f"dtype {_quoted(dtype)}", ", ".join(DTYPES), "such as x:float32:B,T,40")
    found = [_DIM.fullmatch(part.strip()) for part in dims.split(",")]
    if not all(found):
        raise _refused(
            text, f"dims {_quoted(dims)}", "symbols and sizes from 1, such as B,T,40 or B=2,T=50,40", _GRAMMAR
        )
    if len(found) > MOST_AXES:
        raise _refused(text, f"{len(found)} dims", f"at most {MOST_AXES}", "no engine takes tensors of more")
    read = tuple(match[1] or _size(text, match[3]) for match in found if match)
    low, high = _ends(text, dtype, values) if text.count(":") == 3 else (None, None)
    return DescribedInput(name=name, dtype=dtype, dims=read, low=low, high=high)


def _ends(text: str, dtype: str, values: str) -> tuple[float, float | str]:
    number = r"-?\d+" if dtype in INTEGERS else r"-?\d+(?:\.\d+)?"
    match = re.fullmatch(rf"({number})\.\.(?:({number})|([A-Za-z]\w*))", values)
    if dtype == "bool" or not match or (match[3] and dtype in FLOATS):
        expected = {"bool": "no values, for all are true"}.get(dtype, "LOW..HIGH, both included, such as 0..99")
        remedy = "integers for integers; HIGH may be a dim, such as 1..T"
        raise _refused(text, f"values {_quoted(values)}", expected, remedy)
    low, high = _number(dtype, match[1]), match[3] or _number(dtype, match[2])
    if not isinstance(high, str) and low > high:
        raise _refused(text, f"values {_quoted(values)}", "LOW not above HIGH", f"such as {match[2]}..{match[1]}")
    expected = unfit_values(dtype, low, low if isinstance(high, str) else high)
    if expected:
        raise _refused(text, f"values {_quoted(values)}", expected, "such as 0..99")
    return low, high


def _number(dtype: str, digits: str) -> float:
    """A value; one of more digits than any dtype takes is infinite."""
    return int(digits) if dtype in INTEGERS and len(digits) <= _MOST_DIGITS else float(digits)


def _size(text: str, digits: str) -> int:
    size = int(digits) if len(digits) <= _MOST_DIGITS else math.inf
    if size > LARGEST_SIZE:
        raise _refused(text, f"a size of {shown(digits, 40)}", f"at most {LARGEST_SIZE}", "give a smaller example")
    return int(size)


def _check_bounds(described: DescribedInputs) -> None:
    """Refuse lengths that begin beyond what they go up to, and more bytes than an example may hold."""
    sizes = described.sizes
    for own in described.inputs:
        low, high = _range(own, sizes)
        if isinstance(high, str) and not 0 <= low <= sizes[high]:
            raise _refused(own.name, f"values {low}..{high}", f"LOW from 0 to {high} = {sizes[high]}", "such as 1..T")
    shapes = [
        (own.dtype, [sizes[dim] if isinstance(dim, str) else dim for dim in own.dims]) for own in described.inputs
    ]
    size = bytes_of(shapes)
    if size > MOST_BYTES:
        raise OptionError(
            "inputs",
            got=f"{size:,} bytes",
            expected=f"at most {MOST_BYTES:,} in all inputs",
            remedy="give smaller sizes, such as B=2,T=50; the dims that are named stay free in the model",
        )


def _sizes(texts: Sequence[str], inputs: Sequence[DescribedInput]) -> dict[str, int]:
    """Each symbol's size: the one that was set, else 3 for B and a prime of its own for others."""
    sizes: dict[str, int] = {}
    for text in texts:
        for symbol, size in re.findall(r"([A-Za-z]\w*)=(\d+)", text.split(":")[2]):
            if sizes.setdefault(symbol, _size(text, size)) != _size(text, size):
                raise _refused(text, f"{symbol} = {sizes[symbol]} and {size}", "one size for a dim", "set it once")
    fixed = {dim for own in inputs for dim in own.dims if isinstance(dim, int)}
    free = (size for size in _SIZES if size not in fixed)
    for symbol in _symbols(inputs):
        if symbol not in sizes:
            sizes[symbol] = _BATCH if symbol == "B" else next(free, _SIZES[-1])
    return sizes


def _symbols(inputs: Sequence[DescribedInput]) -> Iterator[str]:
    yield from dict.fromkeys(dim for own in inputs for dim in own.dims if isinstance(dim, str))


def _range(own: DescribedInput, sizes: Mapping[str, int]) -> tuple[float, float | str]:
    if own.low is not None and own.high is not None:
        return own.low, own.high
    if own.dtype in INTEGERS and len(own.dims) == 1 and "len" in own.name.lower() and "T" in sizes:
        return 1, "T"
    return 0, 1


def _tensor(torch: Any, generator: Any, own: DescribedInput, sizes: Mapping[str, int]) -> Any:
    shape = tuple(sizes[dim] if isinstance(dim, str) else dim for dim in own.dims)
    dtype, (low, high) = getattr(torch, own.dtype), _range(own, sizes)
    if own.dtype == "bool":
        return torch.ones(shape, dtype=dtype)  # as a mask, no row that masks everything
    if isinstance(high, str):
        return _falling(torch, shape, int(low), sizes[high]).to(dtype)
    if own.dtype in INTEGERS:
        return torch.randint(int(low), int(high) + 1, shape, generator=generator, dtype=dtype)
    if own.low is None:
        return torch.randn(shape, generator=generator).to(dtype)
    return (low + (high - low) * torch.rand(shape, generator=generator)).to(dtype)


def _falling(torch: Any, shape: tuple[int, ...], low: int, high: int) -> Any:
    """Lengths from the longest down, as `pack_padded_sequence` wants them sorted."""
    rows = torch.arange(shape[0]).view(-1, *[1] * (len(shape) - 1)).expand(shape)
    return high - rows * max(high - low, 0) // shape[0]


def _quoted(text: str) -> str:
    return repr(shown(text, _MOST_QUOTED))


def _refused(text: str, got: str, expected: str, remedy: str) -> OptionError:
    return OptionError(f"inputs {shown(text, _MOST_QUOTED)}", got=got, expected=expected, remedy=remedy)
