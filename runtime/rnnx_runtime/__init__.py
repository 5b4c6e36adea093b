"""rnnx_runtime: run an exported recurrent model with NumPy and one engine.

import rnnx_runtime

with rnnx_runtime.load("model.onnx") as session:
    output, state = session.run(x)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rnnx_runtime.backends.table import BACKEND_NAMES, BackendName
from rnnx_runtime.contract import Contract, Recurrence, TensorSpec
from rnnx_runtime.errors import (
    BackendError,
    BackendUnavailable,
    ContractError,
    DeadlineExceeded,
    FileDamagedError,
    ForkedError,
    InputError,
    PoolClosedError,
    PoolOverloaded,
    PushCancelled,
    RnnxError,
    SessionClosedError,
    SnapshotError,
    StepTimeout,
    StreamClosedError,
    StreamEvicted,
)
from rnnx_runtime.loading import load
from rnnx_runtime.session import Session
from rnnx_runtime.state import State

if TYPE_CHECKING:
    from rnnx_runtime.pool import CompletionQueue, PoolMetrics, PoolOptions, PoolStream, Push, StreamPool
    from rnnx_runtime.seq2seq.pair import Seq2Seq, load_seq2seq
    from rnnx_runtime.stream import Stream

_HOMES = {
    **dict.fromkeys(
        ("CompletionQueue", "PoolMetrics", "PoolOptions", "PoolStream", "Push", "StreamPool"), "rnnx_runtime.pool"
    ),
    **dict.fromkeys(("Seq2Seq", "load_seq2seq"), "rnnx_runtime.seq2seq.pair"),
    "Stream": "rnnx_runtime.stream",
}
"""Names imported on first use: the pool is a third of what `import rnnx_runtime` would cost."""

__all__ = [
    "BACKEND_NAMES",
    "BackendError",
    "BackendName",
    "BackendUnavailable",
    "CompletionQueue",
    "Contract",
    "ContractError",
    "DeadlineExceeded",
    "FileDamagedError",
    "ForkedError",
    "InputError",
    "PoolClosedError",
    "PoolMetrics",
    "PoolOptions",
    "PoolOverloaded",
    "PoolStream",
    "Push",
    "PushCancelled",
    "Recurrence",
    "RnnxError",
    "Seq2Seq",
    "Session",
    "SessionClosedError",
    "SnapshotError",
    "State",
    "StepTimeout",
    "Stream",
    "StreamClosedError",
    "StreamEvicted",
    "StreamPool",
    "TensorSpec",
    "load",
    "load_seq2seq",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
