"""How a session runs on its backend."""

from dataclasses import dataclass
from typing import Literal, get_args

from rnnx_runtime.errors import InputError

GraphOptimization = Literal["disabled", "basic", "extended", "all"]

MOST_THREADS = 1024
"""More CPU threads than any host of a recurrent model has; a larger number is a mistake."""


@dataclass(frozen=True, kw_only=True)
class SessionOptions:
    """What `rnnx_runtime.load` leaves to its caller; the defaults are the measured ones.

    Raises:
        InputError: `threads` is not a whole number from 1 to `MOST_THREADS`, or another option has no such value.
    """

    threads: int = 1
    """CPU threads of ONNX Runtime's operators; no meaning on a GPU."""
    arena: bool = True
    """Whether ONNX Runtime keeps freed CPU memory for the next call."""
    graph_optimization: GraphOptimization = "all"
    """How far ONNX Runtime may rewrite the graph."""

    def __post_init__(self) -> None:
        levels = get_args(GraphOptimization)
        if type(self.threads) is not int or not 1 <= self.threads <= MOST_THREADS:
            expected = f"a whole number from 1 to {MOST_THREADS}"
            raise InputError("threads", got=repr(self.threads), expected=expected, remedy="leave it out for 1")
        if type(self.arena) is not bool:
            raise InputError("arena", got=repr(self.arena), expected="True or False", remedy="leave it out for True")
        if self.graph_optimization not in levels:
            got, expected = repr(self.graph_optimization), " | ".join(levels)
            raise InputError("graph_optimization", got=got, expected=expected, remedy="leave it out for 'all'")
