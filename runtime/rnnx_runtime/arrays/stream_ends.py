"""Where a stream's results begin and end, of a model that gives them late or wants several frames a call."""

from typing import Any

from rnnx_runtime.array_type import Array
from rnnx_runtime.arrays.frame_layout import FrameLayout
from rnnx_runtime.arrays.time_axis import frames_per_step, time_of
from rnnx_runtime.contract import Contract
from rnnx_runtime.dim_expressions import size_of
from rnnx_runtime.errors import InputError


class StreamEnds:
    """The frames of a stream that are the whole sequence's.

    `multiple` is of which number of frames every call has a multiple; `is_plain` says that each call's results are the
    whole's as they are, and that nothing comes after the last one.
    """

    def __init__(self, contract: Contract) -> None:
        time, own = time_of(contract), contract.streaming
        units = [frames_per_step(spec, time) for spec in contract.plain_inputs]
        self.multiple = max([unit for unit in units if unit is not None], default=1)
        self._lookahead, self._lengths, self._shortest = own.lookahead, own.lengths, own.shortest
        self.delays = {spec.name: own.delays.get(spec.name, 0) for spec in contract.plain_outputs}
        self._rates = {spec.name: frames_per_step(spec, time) for spec in contract.plain_outputs}
        self.is_plain = self.multiple == 1 and not own.lookahead and not any(self.delays.values())

    def why_too_short(self, frames: int) -> InputError | None:
        """The error of a sequence that ends after so many frames, where the model takes none so short."""
        if frames >= self._shortest:
            return None
        return InputError(
            "flush",
            got=f"a sequence of {frames} frames",
            expected=f"at least {self._shortest}, of which the model reflects some at its ends",
            remedy="push more frames before, or call reset() to leave it",
        )

    def steps(self, frames: int) -> int:
        """How many steps, of `multiple` frames each, bring all results of a sequence of so many frames."""
        return -(-frames // self.multiple) + -(-self._lookahead // self.multiple)

    def length(self, output: str, frames: int) -> int | None:
        """How many frames an output of the whole sequence has; None of an output without an axis of time."""
        rate = self._rates[output]
        if output in self._lengths:
            return size_of(self._lengths[output], {"N": frames})
        return None if rate is None else rate * frames // self.multiple

    def kept(self, output: str, first: int, count: int, frames: int | None = None) -> slice:
        """Which of a call's frames are the whole's: `first` is how many steps came before, `count` how many it has.

        `frames` is the sequence's length, where it has ended.
        """
        rate, delay = self._rates[output] or 0, self.delays[output]
        begin, end = first * rate, (first + count) * rate
        length = None if frames is None else self.length(output, frames)
        last = end if length is None else min(end, delay + length)
        return slice(max(delay - begin, 0), max(last - begin, 0))


def last_chunk(x: Any, layout: FrameLayout, ends: StreamEnds) -> tuple[dict[str, Array] | None, int, int]:
    """The chunk that ends a sequence, filled up; how many steps it has, and how many of its frames were given.

    There is no chunk where nothing is left to run.

    Raises:
        InputError: x is no last chunk of the model's, or lacks an input.
    """
    given = None if x is None else layout.last_frames(x)
    frames = 0 if given is None else layout.frames_of(given)
    steps = ends.steps(frames)
    return (layout.filled_up(given, steps) if steps else None), steps, frames
