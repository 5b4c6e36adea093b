"""How a session runs on its backend."""

from dataclasses import dataclass

from rnnx_runtime.errors import InputError

MOST_THREADS = 1024
"""More CPU threads than any host of a recurrent model has; a larger number is a mistake."""


@dataclass(frozen=True, kw_only=True)
class SessionOptions:
    """What `rnnx_runtime.load` leaves to its caller; the defaults are the measured ones.

    Raises:
        InputError: `threads` is no whole number from 1 to `MOST_THREADS`, or `spinning` is no boolean.
    """

    threads: int = 1
    """CPU threads of ONNX Runtime's operators; no meaning on a GPU.

    One, for a service has other work for its cores: a second made steps 1.0 to 1.4 times faster, encoders of 100 steps
    1.8 to 1.9 times.
    """
    spinning: bool = True
    """Whether threads beyond the first wait for work in a loop.

    It keeps a core busy as long as calls come: 0.9 of one where a step of 44 µs came every 2 ms, 0.1 without. Without,
    two threads were slower than one for steps below 0.1 ms, so it stays on for those who ask for threads.
    """

    def __post_init__(self) -> None:
        if type(self.threads) is not int or not 1 <= self.threads <= MOST_THREADS:
            expected = f"a whole number from 1 to {MOST_THREADS}"
            raise InputError("threads", got=repr(self.threads), expected=expected, remedy="leave it out for 1")
        spinning: object = self.spinning
        if type(spinning) is not bool:
            raise InputError("spinning", got=repr(spinning), expected="True or False", remedy="leave it out for True")
