"""What a pool may hold, how it forms batches, and what it refuses."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from rnnx_runtime.errors import InputError

NanPolicy = Literal["reject", "propagate"]


@dataclass(frozen=True, kw_only=True)
class PoolOptions:
    """The limits of a pool, each with a default for a service on CPU.

    Raises:
        InputError: a value is of the wrong type or range.
    """

    max_streams: int = 1024
    """Streams open at once; their states lie in memory that is taken when the pool is made."""
    max_batch: int = 64
    """Most streams in one step."""
    max_frames: int = 16
    """Most frames of one chunk in one step, where the model takes several: what a newcomer waits for at most."""
    max_wait_us: float = 1000.0
    """Longest wait for a fuller batch, in microseconds; 0 runs what is there."""
    adaptive: bool = True
    """Wait only while pushes arrive faster than a row of the batch takes to run; False always waits `max_wait_us`."""
    max_queue: int = 4096
    """Pushes that may wait; one more is refused with `PoolOverloaded`."""
    nan: NanPolicy = "reject"
    """`reject` fails a push that holds NaN or infinity; `propagate` runs it, and its stream alone goes bad."""
    idle_s: float | None = None
    """Seconds after which a stream without pushes loses its slot; None keeps it until it is closed."""
    on_evict: Callable[[str, bytes], None] | None = None
    """Called with the name and the snapshot of an evicted stream, from a thread of the pool."""
    """Whether to take a model whose chunks give something else than the whole sequence."""
    step_timeout_s: float = 30.0
    """Seconds after which a step counts as hanging and its pushes fail with `StepTimeout`."""

    def __post_init__(self) -> None:
        for name in ("max_streams", "max_batch", "max_frames", "max_queue"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise _invalid(name, value, "a whole number ≥ 1")
        if not _is_number(self.max_wait_us) or self.max_wait_us < 0:
            raise _invalid("max_wait_us", self.max_wait_us, "a number of microseconds ≥ 0")
        if not _is_number(self.step_timeout_s) or self.step_timeout_s <= 0:
            raise _invalid("step_timeout_s", self.step_timeout_s, "a number of seconds > 0")
        if self.idle_s is not None and (not _is_number(self.idle_s) or self.idle_s <= 0):
            raise _invalid("idle_s", self.idle_s, "a number of seconds > 0, or None")
        if self.nan not in get_args(NanPolicy):
            raise _invalid("nan", self.nan, " | ".join(get_args(NanPolicy)))
        if type(self.adaptive) is not bool:
            raise _invalid("adaptive", self.adaptive, "True or False")
        if self.on_evict is not None and not callable(self.on_evict):
            raise _invalid("on_evict", self.on_evict, "a function of a name and bytes, or None")


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _invalid(name: str, value: object, expected: str) -> InputError:
    return InputError(f"PoolOptions.{name}", got=repr(value), expected=expected, remedy="leave it out for the default")
