"""Where a traced value has its axis of time, and how a stream of its frames relates to the whole sequence's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import sympy  # type: ignore[import-untyped]
import torch

from rnnx.tracing.sizes.dims import expression_of

ONE = sympy.Integer(1)


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """The frames of one value in a stream.

    A call of n frames of the inputs gives `rate · n` frames. The frame number j that a stream has given, counted from
    its start, is number `j - lag` of the whole sequence's; a negative lag says that the whole begins with `-lag` frames
    of `fill`, such as a padding, before the first that the stream gives. `axis` is the axis of time; its size is
    `rows · frames` where a reshape joined it with axes before it. `whole` is how many frames the whole sequence has, an
    expression of the inputs' number. A value that `is_flat` is the same in every frame.
    """

    axis: int
    rate: Fraction
    whole: Any
    lag: int = 0
    fill: float = 0.0
    rows: Any = ONE
    is_flat: bool = False

    @property
    def is_joined(self) -> bool:
        """Whether the axis of time holds more than the frames of one sequence."""
        return bool(self.rows != 1)

    def at(self, axis: int) -> "Timeline":
        """The same frames along another axis."""
        return replace(self, axis=axis)


@dataclass(frozen=True, kw_only=True)
class StreamAxes:
    """The symbols of a trace that are the batch and the time of its inputs; `batch` is a symbol of
    no size where no axis is free."""

    batch: Any
    time: Any

    def time_axes(self, shape: Sequence[Any]) -> tuple[int, ...]:
        """The axes whose size depends on the sequence's length."""
        return tuple(axis for axis, size in enumerate(shape) if self.is_timed(size))

    def is_timed(self, size: Any) -> bool:
        """Whether a size depends on the sequence's length."""
        return isinstance(size, torch.SymInt) and self.time in expression_of(size).free_symbols

    def batch_axis(self, shape: Sequence[Any]) -> int | None:
        """The axis that holds the batch's rows, or several for each; None without one."""
        axes = [axis for axis, size in enumerate(shape) if self.batch in expression_of(size).free_symbols]
        return axes[0] if axes else None

    def rows_of(self, size: Any) -> int:
        """How many rows an axis of batch has for each of the batch's."""
        return int(sympy.cancel(expression_of(size) / self.batch))
