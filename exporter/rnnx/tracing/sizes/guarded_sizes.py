"""At which sizes a written graph is the model: the guards of its trace held against what its values show."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Any

import sympy  # type: ignore[import-untyped]
import torch
from torch.export import ExportedProgram

from rnnx.errors import FrozenDimError
from rnnx.tracing.recurrence_nodes import Size
from rnnx.tracing.sizes.dims import expression_of
from rnnx.tracing.sizes.guards import SizeGuard
from rnnx.tracing.sizes.remedies import remedy_for
from rnnx_runtime.contract import LARGEST_SIZE, Contract, SizeRange

Sizes = Mapping[str, int]

_MOST_FURTHER = 3
"""Sizes that are tried because of guards alone: each is a case of the golden file."""

_NEARBY = 16
_BEYOND = 2**16
"""As many sizes past the example's are tried one by one: `(T - 52) % 256 != 0` holds at most of them."""

_LARGEST_TRIED = 2**20


@dataclass(frozen=True, kw_only=True)
class GuardedSizes:
    """The guards of a trace on its free dims: `names` are the contract's of the symbols, `example` its sizes by dim.

    `places` are the dims' input and axis, in words.
    """

    guards: tuple[SizeGuard, ...]
    names: Mapping[Any, str]
    example: Sizes
    places: Mapping[str, str]

    def further(self, tried: Sequence[Sizes], ranges: Mapping[str, SizeRange]) -> list[dict[str, int]]:
        """Sizes in these ranges beyond those that are tried, at which guards do not hold that hold at all of them.

        An operator's ends come last, and are passed by two: a slice up to 20 cuts nothing of 20 yet.
        """
        found: list[dict[str, int]] = []
        for guard in sorted(self.guards, key=lambda own: own.is_end):
            if len(found) == _MOST_FURTHER:
                break
            if all(self._holds(guard, sizes) for sizes in (*tried, *found)):
                inside = (sizes for sizes in self._nearby_failing(guard) if _is_inside(sizes, ranges))
                found += list(islice(inside, 2))[-1:] if guard.is_end else islice(inside, 1)
        return found

    def nearest(
        self, tried: Sequence[Sizes], lost: Sequence[Sizes], ranges: Mapping[str, SizeRange]
    ) -> list[dict[str, int]]:
        """The same where nothing is known of the sizes that were lost: those in range nearest to the example's."""
        found: list[dict[str, int]] = []
        for guard in self.guards:
            if guard.is_end or len(found) == _MOST_FURTHER:
                continue
            if all(self._holds(guard, sizes) for sizes in (*tried, *found)):
                failing = (sizes for sizes in self._nearby_failing(guard) if sizes not in lost)
                found += sorted((own for own in failing if _is_inside(own, ranges)), key=self._distance)[:1]
        return found

    def _distance(self, sizes: Sizes) -> int:
        return sum(abs(size - self.example[dim]) for dim, size in sizes.items())

    @cached_property
    def known_ranges(self) -> dict[str, SizeRange]:
        """The upper ends that the model's own branches have, which lie too far from the example to be tried."""
        ranges: dict[str, SizeRange] = {}
        for guard in self.guards:
            dim, own = self._range(guard) if guard.is_own else ("", None)
            if own is not None and own.max is not None:
                ranges[dim] = _narrower(ranges.get(dim), own)
        return ranges

    def ranges_of_refusals(self, refused: Sequence[Sizes], taken: Sequence[Sizes]) -> dict[str, SizeRange]:
        """The ranges outside of which PyTorch itself refuses sizes, as a kernel longer than the sequence does."""
        ranges: dict[str, SizeRange] = {}
        for sizes in refused:
            for guard in self._suspects([sizes], taken):
                dim, own = self._range(guard) if not isinstance(guard.condition, sympy.Ne) else ("", None)
                if own is not None:
                    ranges[dim] = _narrower(ranges.get(dim), own)
                    break
        return ranges

    def narrowed(self, contract: Contract, failed: Sequence[Sizes], passed: Sequence[Sizes]) -> Contract | None:
        """The contract with a range that keeps failing sizes out; None where no guard explains that they fail.

        Raises:
            FrozenDimError: a guard explains them that is no range; names the model's line.
        """
        suspects = self._suspects(failed, passed)
        if not suspects:
            return None
        dim, own = self._range(suspects[0])
        if own is None:
            raise self._refusal(suspects[0], next(one for one in failed if not self._holds(suspects[0], one)))
        return with_ranges(contract, {dim: own})

    def notes(self, ranges: Mapping[str, SizeRange]) -> tuple[str, ...]:
        """What is said of each range of a contract: where it comes from."""
        notes = []
        for dim, own in ranges.items():
            outside = {**self.example, dim: own.min - 1 if own.min > 1 else (own.max or 0) + 1}
            lines = [guard.line for guard in self.guards if guard.symbols and not self._holds(guard, outside)]
            told = f": {lines[0]}" if lines else ""
            notes.append(f"{dim} is {own}, and the runtime refuses other sizes, for the model goes another way{told}")
        return tuple(notes)

    def _suspects(self, failed: Sequence[Sizes], passed: Sequence[Sizes]) -> list[SizeGuard]:
        """The guards that hold at no failing size and at every other, the likeliest first."""
        counts = {guard: sum(not self._holds(guard, sizes) for sizes in failed) for guard in self.guards}
        broken = [guard for guard, count in counts.items() if count]
        clean = [guard for guard in broken if all(self._holds(guard, sizes) for sizes in passed)]
        found = clean or [guard for guard in broken if guard.is_own]
        return sorted(found, key=lambda guard: (not guard.is_own, -counts[guard], not guard.is_equality))

    def _holds(self, guard: SizeGuard, sizes: Sizes) -> bool:
        return guard.holds({symbol: sizes[name] for symbol, name in self.names.items() if name in sizes})

    def _dims(self, guard: SizeGuard) -> list[str]:
        return sorted({self.names[own] for own in guard.symbols & self.names.keys()} & self.example.keys())

    def _failing(self, guard: SizeGuard, dim: str, tried: Iterable[int]) -> list[int]:
        """The sizes of a dim, the smallest first, at which a guard does not hold beside the example's other sizes."""
        others = {symbol: self.example[name] for symbol, name in self.names.items() if name in self.example}
        symbol = next(symbol for symbol, name in self.names.items() if name == dim)
        return guard.failing(symbol, sorted({size for size in tried if 1 <= size <= LARGEST_SIZE}), others)

    def _nearby_failing(self, guard: SizeGuard) -> Iterator[dict[str, int]]:
        """The example's sizes with one of them changed so that a guard does not hold, small ones first."""
        for dim in self._dims(guard):
            own = self.example[dim]
            tried = [*range(1, own + 4), 2 * own, 2 * own + 1, *_told(guard, (-1, 0, 1))]
            for size in self._failing(guard, dim, (size for size in tried if size <= 4 * own + _NEARBY)):
                yield {**self.example, dim: size}

    def _range(self, guard: SizeGuard) -> tuple[str, SizeRange | None]:
        """The dim that a guard is about, and the sizes that it leaves open to one side; None where it leaves gaps."""
        dims = self._dims(guard)
        if len(dims) != 1 or isinstance(guard.condition, sympy.Eq):
            return "", None
        dim, own = dims[0], self.example[dims[0]]
        tried = (*range(1, own + _BEYOND), *_powers(own), *_told(guard, (0, 1)))
        failing = self._failing(guard, dim, tried)
        least = max((size + 1 for size in failing if size < own), default=1)
        beyond = min((size for size in failing if size > own), default=None)
        if (least > 1) == (beyond is not None):
            return "", None

        def holds(size: int) -> bool:
            return self._holds(guard, {**self.example, dim: size})

        return dim, SizeRange(min=least, max=None if beyond is None else _last(holds, own, beyond))

    def _refusal(self, guard: SizeGuard, sizes: Sizes) -> FrozenDimError:
        dims = self._dims(guard)
        named = {symbol: sympy.Symbol(name, integer=True) for symbol, name in self.names.items()}
        other = " ".join(f"{dim}={sizes[dim]}" for dim in dims)
        same = " ".join(f"{dim}={self.example[dim]}" for dim in dims)
        return FrozenDimError(
            ", ".join(self.places.get(dim, dim) for dim in dims),
            got=f"a model that goes the way of {same} at {other} too: {guard.line}",
            expected=f"the same operations at all sizes, or sizes in place of numbers "
            f"(the trace holds where {guard.condition.xreplace(named)})",
            remedy=f"{remedy_for(guard.code)}, or export with static=True (--static) for the example's sizes alone",
        )


def guarded_sizes(
    program: ExportedProgram,
    guards: Sequence[SizeGuard],
    names: Mapping[Any, str],
    shapes: Mapping[str, Sequence[Size]],
) -> GuardedSizes:
    """The guards that say something about the dims that a program leaves free."""
    sizes = {
        expression_of(size): (size, f"input {name!r} axis {axis}, {names.get(expression_of(size), '')}")
        for name, shape in reversed(list(shapes.items()))
        for axis, size in enumerate(shape)
        if isinstance(size, torch.SymInt) and expression_of(size) in names
    }
    replaced = [replace(guard, condition=_replaced(guard.condition, sizes)) for guard in guards]
    return GuardedSizes(
        guards=tuple(guard for guard in replaced if guard.symbols & names.keys()),
        names=names,
        example={names[symbol]: int(size.node.hint) for symbol, (size, _) in sizes.items()},
        places={names[symbol]: place for symbol, (_, place) in sizes.items()},
    )


def with_ranges(contract: Contract, ranges: Mapping[str, SizeRange]) -> Contract:
    """The contract with ranges that are in none of its own, or narrower."""
    own = {dim: _narrower(contract.ranges.get(dim), wanted) for dim, wanted in ranges.items()}
    return replace(contract, ranges={**contract.ranges, **own})


def _is_inside(sizes: Sizes, ranges: Mapping[str, SizeRange]) -> bool:
    return all(own.nearest(sizes[dim]) == sizes[dim] for dim, own in ranges.items() if dim in sizes)


def _replaced(condition: Any, sizes: Mapping[Any, tuple[torch.SymInt, str]]) -> Any:
    """A condition in the symbols that a trace has in the end, for some were found equal to others, or to numbers."""
    for size, _ in sizes.values():
        return size.node.shape_env.replace(condition)
    return condition


def _narrower(first: SizeRange | None, second: SizeRange) -> SizeRange:
    ends = [own.max for own in (first, second) if own is not None and own.max is not None]
    return SizeRange(min=max(first.min if first else 1, second.min), max=min(ends, default=None))


def _told(guard: SizeGuard, steps: Sequence[int]) -> Iterator[int]:
    """The numbers that a condition names, and those beside them."""
    yield from (int(atom) + step for atom in guard.condition.atoms(sympy.Integer) for step in steps)


def _powers(own: int) -> Iterator[int]:
    size = 2 * own
    while size <= _LARGEST_TRIED:
        yield size
        size *= 2


def _last(holds: Any, inside: int, beyond: int) -> int:
    """The last size of a range, between one that is inside and one beyond it."""
    while beyond - inside > 1:
        middle = (inside + beyond) // 2
        inside, beyond = (middle, beyond) if holds(middle) else (inside, middle)
    return inside
