"""Dims that are expressions of symbols, such as `T + 1` or `20*T`: what they come to, and a symbol solved from one."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

_TOKEN = re.compile(r"\s*(?:(\d{1,19})(?!\w)|([A-Za-z_]\w*)|(//|\*\*|[-+*%(),]))", re.ASCII)

_FUNCTIONS = ("Max", "Min", "Mod")
"""What an exporter writes besides operators; all take two numbers."""

_MOST = 2**63 - 1
"""No step of a calculation is larger."""

_LARGEST_POWER = 8

_DEEPEST = 32
"""Brackets inside one another."""


class _Op(NamedTuple):
    """One step in postfix order: an operator or a function with its count of operands, a symbol, or a number."""

    kind: str
    value: str | int
    operands: int = 0


@lru_cache(maxsize=1024)
def symbols_of(dim: str | int) -> tuple[str, ...]:
    """The symbols in a dim, each once, in their order; none of a size, and of text that is no expression."""
    steps = _steps(dim) if isinstance(dim, str) else None
    return tuple(dict.fromkeys(str(own.value) for own in steps or () if own.kind == "symbol"))


def is_expression(dim: str | int) -> bool:
    """Whether a dim is more than a symbol or a size."""
    return isinstance(dim, str) and not dim.isidentifier()


def size_of(dim: str | int, sizes: Mapping[str, int]) -> int | None:
    """A dim's size; None where a symbol's is not known, and of text that is no expression or comes to no number."""
    if isinstance(dim, int):
        return dim
    if dim in sizes:
        return sizes[dim]
    steps = _steps(dim)
    return None if steps is None else _value(steps, sizes)


def solved(dim: str, size: int, sizes: Mapping[str, int]) -> tuple[str, int] | None:
    """The one symbol in a dim that `sizes` lacks, with its value; None where there are more, or none fits `size`."""
    unknown = [symbol for symbol in symbols_of(dim) if symbol not in sizes]
    if len(unknown) != 1 or not is_linear(dim):
        return None
    at = [size_of(dim, {**sizes, unknown[0]: value}) for value in (0, 1)]
    if at[0] is None or at[1] is None or at[0] == at[1]:
        return None
    value, rest = divmod(size - at[0], at[1] - at[0])
    fits = rest == 0 and value > 0 and size_of(dim, {**sizes, unknown[0]: value}) == size
    return (unknown[0], value) if fits else None


def is_linear(dim: str) -> bool:
    """Whether a dim is made of sums and products, from which a symbol can be solved."""
    steps = _steps(dim)
    return steps is not None and all(own.kind != "operator" or own.value in ("+", "-", "*", "neg") for own in steps)


def _value(steps: tuple[_Op, ...], sizes: Mapping[str, int]) -> int | None:
    stack: list[int] = []
    for kind, value, count in steps:
        if kind == "number":
            stack.append(int(value))
        elif kind == "symbol":
            if value not in sizes:
                return None
            stack.append(sizes[str(value)])
        else:
            operands = stack[len(stack) - count :]
            del stack[len(stack) - count :]
            result = _applied(str(value), operands)
            if result is None or abs(result) > _MOST:
                return None
            stack.append(result)
    return stack[0]


def _applied(operator: str, operands: list[int]) -> int | None:
    if operator == "neg":
        return -operands[0]
    first, second = operands
    match operator:
        case "Max":
            return max(first, second)
        case "Min":
            return min(first, second)
        case "+":
            return first + second
        case "-":
            return first - second
        case "*":
            return first * second
        case "**":
            return first**second if 0 <= second <= _LARGEST_POWER else None
        case "//":
            return first // second if second else None
        case _:
            return first % second if second else None


@lru_cache(maxsize=1024)
def _steps(text: str) -> tuple[_Op, ...] | None:
    """An expression in postfix order; None of text that is none."""
    try:
        return tuple(_Parser(text).parsed())
    except _NoExpressionError:
        return None


class _NoExpressionError(Exception):
    """Text that is no expression."""


class _Parser:
    """A recursive descent over at most 255 characters, the longest dim of a contract."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._place = self._depth = 0

    def parsed(self) -> Iterator[_Op]:
        yield from self._sum()
        if self._place < len(self._tokens):
            raise _NoExpressionError

    def _next(self) -> str:
        return self._tokens[self._place] if self._place < len(self._tokens) else ""

    def _take(self) -> str:
        self._place += 1
        return self._tokens[self._place - 1]

    def _sum(self) -> list[_Op]:
        found = self._product()
        while self._next() in ("+", "-"):
            operator = self._take()
            found += [*self._product(), _Op("operator", operator, 2)]
        return found

    def _product(self) -> list[_Op]:
        found = self._signed()
        while self._next() in ("*", "//", "%"):
            operator = self._take()
            found += [*self._signed(), _Op("operator", operator, 2)]
        return found

    def _signed(self) -> list[_Op]:
        signs: list[_Op] = []
        while self._next() == "-":
            self._take()
            signs.append(_Op("operator", "neg", 1))
        found = self._atom()
        if self._next() == "**":
            self._take()
            found += [*self._atom(), _Op("operator", "**", 2)]
        return found + signs

    def _atom(self) -> list[_Op]:
        token = self._next()
        if token.isdecimal():
            return [_Op("number", int(self._take()))]
        if token == "(":
            return self._bracketed(1)
        if not token.isidentifier():
            raise _NoExpressionError
        self._take()
        if self._next() != "(":
            return [_Op("symbol", token)]
        if token not in _FUNCTIONS:
            raise _NoExpressionError
        return [*self._bracketed(2), _Op("operator", token, 2)]

    def _bracketed(self, count: int) -> list[_Op]:
        """What stands in brackets: so many expressions, one after another."""
        self._depth += 1
        found: list[_Op] = []
        for place in range(count):
            if self._depth > _DEEPEST or self._next() != ("," if place else "("):
                raise _NoExpressionError
            self._take()
            found += self._sum()
        if self._next() != ")":
            raise _NoExpressionError
        self._take()
        self._depth -= 1
        return found


def _tokens(text: str) -> Iterator[str]:
    place = 0
    while place < len(text.rstrip()):
        match = _TOKEN.match(text, place)
        if match is None:
            raise _NoExpressionError
        yield match[1] or match[2] or match[3]
        place = match.end()
