"""How a session runs on its backend."""

from dataclasses import dataclass
from typing import Literal

GraphOptimization = Literal["disabled", "basic", "extended", "all"]


@dataclass(frozen=True, kw_only=True)
class SessionOptions:
    """What `rnnx_runtime.load` leaves to its caller; the defaults are the measured ones."""

    threads: int = 1
    """CPU threads of ONNX Runtime's operators; no meaning on a GPU."""
    arena: bool = True
    """Whether ONNX Runtime keeps freed CPU memory for the next call."""
    graph_optimization: GraphOptimization = "all"
    """How far ONNX Runtime may rewrite the graph."""
