"""What a trace takes for granted about its sizes: each comparison of them that came out one way for the example's.

torch.export keeps such guards on paper alone where they fix no size: the graph is then right for the sizes on the
example's side, and of another model's values for all others.
"""

import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from types import FrameType
from typing import Any

import numpy as np
import sympy  # type: ignore[import-untyped]
from torch import SymBool
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from rnnx.modules.source_lines import below_trace, is_own_file, last_own_frame, model_line
from rnnx.tracing.sizes.many_sizes import at_sizes

_ASKING = (
    *("torch/fx/experimental/", "torch/__init__.py", "torch/utils/_sympy/", "torch/_export/non_strict_utils.py"),
    *("rnnx/tracing/sizes/guards.py", "rnnx/tracing/sizes/sized_tensors.py", "rnnx/tracing/sizes/exact_sizes.py"),
)
"""Where a comparison of sizes is answered, whoever asks."""

_LOOP = re.compile(r"\bfor\b.*\bin\b|\bwhile\b|\bunbind\b")
"""A line that has as many steps as an axis; `chunk(2)` has as many parts as it says."""
_MOST_ALONE = 256
"""As many sizes are tried of a condition that has no form for arrays, one after the other."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SizeGuard:
    """A condition on symbols that held for the example's sizes, and the stack that asked for it, outermost first."""

    condition: Any
    frames: tuple[traceback.FrameSummary, ...]

    @cached_property
    def line(self) -> str:
        """The model's line that asked, or called what asked."""
        return model_line(self.frames)

    @cached_property
    def code(self) -> str:
        """That line's code alone."""
        place = last_own_frame(self.frames)
        return (self.frames[place].line or "") if place >= 0 else ""

    @cached_property
    def is_own(self) -> bool:
        """Whether the model's own line asked, as by `if` or `int()`, and no operator that it calls."""
        place = last_own_frame(self.frames)
        inner = self.frames[place + 1 :]
        return place >= 0 and all(any(own in frame.filename for own in _ASKING) for frame in inner)

    @cached_property
    def is_equality(self) -> bool:
        """Whether the condition is no mere lower or upper end: it pins a number, or a remainder."""
        return isinstance(self.condition, sympy.Eq) or not isinstance(self.condition, sympy.Rel)

    @property
    def is_end(self) -> bool:
        """Whether an operator asked on which side of a number a size lies."""
        return not (self.is_own or self.is_equality)

    @cached_property
    def steps(self) -> int | None:
        """How often a loop in Python runs whose number of steps the condition fixes; None where it is no loop."""
        sides = self.condition.args if isinstance(self.condition, sympy.Eq) else ()
        numbers = [int(own) for own in sides if own.is_Integer]
        made = any(not own.is_Atom for own in sides)
        return numbers[0] if numbers and made and _LOOP.search(self.code) else None

    @property
    def symbols(self) -> frozenset[Any]:
        """The symbols in the condition."""
        return frozenset(self.condition.free_symbols)

    def holds(self, sizes: Mapping[Any, int]) -> bool:
        """Whether it holds for sizes by symbol; true where they do not decide it."""
        try:
            found = self.condition.xreplace({symbol: sympy.Integer(size) for symbol, size in sizes.items()})
        except (ArithmeticError, ValueError, AssertionError):  # such as a division by a size of zero
            return True
        return bool(found != sympy.false)

    def failing(self, symbol: Any, tried: Sequence[int], others: Mapping[Any, int]) -> list[int]:
        """The sizes of a symbol, of those that are tried, at which it does not hold beside the others' sizes."""
        try:
            held = at_sizes(self.condition, {**others, symbol: np.array(tried, np.int64)})
        except (KeyError, NotImplementedError, TypeError, AttributeError):
            return [size for size in tried[:_MOST_ALONE] if not self.holds({**others, symbol: size})]
        return [size for size, holds in zip(tried, np.broadcast_to(held, len(tried)), strict=True) if not holds]


@contextmanager
def recorded_guards() -> Iterator[list[SizeGuard]]:
    """The guards that are asked for inside the block, in order, each condition once.

    `if x.size(0) == 1` leaves no guard in PyTorch, which takes it for granted that a free size is no 1: what the
    model's own lines make true or false is recorded too.
    """
    found: dict[Any, SizeGuard] = {}
    logged: Any = ShapeEnv._log_guard
    asked: Any = SymBool.__bool__

    def record(condition: Any) -> None:
        if condition not in found and getattr(condition, "free_symbols", None):
            frames = tuple(below_trace(_stack(sys._getframe(2))))
            found[condition] = SizeGuard(condition=condition, frames=frames)

    def log(self: ShapeEnv, prefix: str, guard: Any, *args: Any, **kwargs: Any) -> Any:
        record(guard)
        return logged(self, prefix, guard, *args, **kwargs)

    def ask(self: SymBool) -> bool:
        answer: bool = asked(self)
        if _asks_itself(sys._getframe(1)):
            expression = self.node.expr
            record(expression if answer else sympy.Not(expression))
        return answer

    ShapeEnv._log_guard = log  # type: ignore[method-assign, assignment]
    SymBool.__bool__ = ask  # type: ignore[method-assign]
    recorded: list[SizeGuard] = []
    try:
        yield recorded
    finally:
        ShapeEnv._log_guard = logged  # type: ignore[method-assign]
        SymBool.__bool__ = asked  # type: ignore[method-assign]
        recorded.extend(found.values())


def _asks_itself(frame: FrameType | None) -> bool:
    """Whether the model's own line asks for a truth, be it by way of a size's `__bool__`."""
    while frame is not None and frame.f_code.co_filename.endswith("torch/__init__.py"):
        frame = frame.f_back
    return frame is not None and is_own_file(frame.f_code.co_filename)


def _stack(frame: FrameType | None) -> list[traceback.FrameSummary]:
    """The stack from the outermost call on; source lines are read when they are asked for."""
    found = traceback.StackSummary.extract(traceback.walk_stack(frame), lookup_lines=False)
    return list(reversed(found))
