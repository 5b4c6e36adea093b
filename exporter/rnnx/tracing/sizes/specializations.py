"""Which sizes of the inputs a trace fixed, and where: what torch.export does silently under `Dim.AUTO`."""

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch.fx.experimental.symbolic_shapes import ShapeEnv

from rnnx.modules.source_lines import below_trace, last_own_frame, model_line
from rnnx_runtime.errors import RnnxError

_SOURCE = re.compile(r"\[(\d+)\]\.size\(\)\[(\d+)\]$")

_LOOP = re.compile(r"\brange\b|\bfor\b.*\bin\b|\bwhile\b|\bunbind\b|\bchunk\b|\bsplit\b|\btolist\b|\bscan\b")

_WEIGHT_CHECKS = frozenset(("fix_size", "meta_mm", "meta_bmm", "meta_addmm", "meta_conv", "linear", "conv1d", "conv2d"))

_LAYER = re.compile(r"torch/nn/modules/(linear|conv|batchnorm|instancenorm|normalization|rnn|sparse)\.py")
"""Layers with weights; a pooling layer has none, and what it fixes is the model's."""


@dataclass(frozen=True, kw_only=True)
class Specialization:
    """An axis of an input that the model fixed at one size: the input's index, the axis, the size and the stack."""

    input: int
    axis: int
    size: int
    frames: tuple[traceback.FrameSummary, ...]

    @property
    def line(self) -> str:
        """The model's line that fixed it."""
        return model_line(self.frames)

    @property
    def is_loop(self) -> bool:
        """Whether that line goes over the axis in Python."""
        place = last_own_frame(self.frames)
        return place >= 0 and bool(_LOOP.search(self.frames[place].line or ""))

    @property
    def is_weights(self) -> bool:
        """Whether the axis was fixed by a weight's shape, as every feature axis is."""
        inner = self.frames[last_own_frame(self.frames) + 1 :]
        return any(frame.name in _WEIGHT_CHECKS or _LAYER.search(frame.filename) for frame in inner)


class LongLoopError(RnnxError):
    """A loop in Python of more steps than a trace is to copy: the input and axis it goes over, and its size."""

    def __init__(self, loop: Specialization) -> None:
        super().__init__(
            f"input {loop.input} axis {loop.axis}",
            got=f"a loop of {loop.size} steps: {loop.line}",
            expected="a shorter one",
            remedy="cut the example",
        )
        self.input, self.axis, self.size = loop.input, loop.axis, loop.size


@contextmanager
def recorded_specializations(longest: int | None = None) -> Iterator[list[Specialization]]:
    """The axes that are fixed inside the block, in order; a loop that is longer than `longest` ends it.

    Raises:
        LongLoopError: such a loop begins.

    Non-strict torch.export keeps no user stack, so the method that fixes a symbol is watched here.
    """
    found: list[Specialization] = []
    original: Any = ShapeEnv._set_replacement

    def watch(self: ShapeEnv, symbol: Any, target: Any, *args: Any, **kwargs: Any) -> Any:
        if getattr(target, "is_Integer", False) and symbol not in self.replacements:
            found.extend(_specializations(self, symbol, int(target)))
            _refuse_long_loop(found, longest)
        return original(self, symbol, target, *args, **kwargs)

    ShapeEnv._set_replacement = watch  # type: ignore[method-assign, assignment]
    try:
        yield found
    finally:
        ShapeEnv._set_replacement = original  # type: ignore[method-assign]


def _refuse_long_loop(found: list[Specialization], longest: int | None) -> None:
    last = found[-1] if found else None
    if longest is not None and last is not None and last.is_loop and not last.is_weights and last.size > longest:
        raise LongLoopError(last)


def _specializations(shapes: ShapeEnv, symbol: Any, size: int) -> Iterator[Specialization]:
    frames = tuple(below_trace(traceback.extract_stack()))
    for source in shapes.var_to_sources.get(symbol, []):
        name: Any = getattr(source, "name", "")
        place = _SOURCE.search(name() if callable(name) else name)
        if place:
            yield Specialization(input=int(place[1]), axis=int(place[2]), size=size, frames=frames)
