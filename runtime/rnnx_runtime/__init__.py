"""rnnx_runtime: run an exported recurrent model with NumPy and one engine.

import rnnx_runtime

with rnnx_runtime.load("model.onnx") as session:
    output, state = session.run(x)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnnx_runtime.backends.names import BACKEND_NAMES, BackendName
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
    from rnnx_runtime.pool import CompletionQueue, ManyOutputs, PoolMetrics, PoolOptions, PoolStream, Push, StreamPool
    from rnnx_runtime.seq2seq.pair import Seq2Seq, load_seq2seq
    from rnnx_runtime.session import Session
    from rnnx_runtime.state import State
    from rnnx_runtime.stream import Stream

_NAMES = {
    "backends.names": ("BACKEND_NAMES", "BackendName"),
    "contract": ("Contract", "Recurrence", "TensorSpec"),
    "errors": (
        "BackendError",
        "BackendUnavailable",
        "ContractError",
        "DeadlineExceeded",
        "FileDamagedError",
        "ForkedError",
        "InputError",
        "PoolClosedError",
        "PoolOverloaded",
        "PushCancelled",
        "RnnxError",
        "SessionClosedError",
        "SnapshotError",
        "StepTimeout",
        "StreamClosedError",
        "StreamEvicted",
    ),
    "loading": ("load",),
    "pool": ("CompletionQueue", "ManyOutputs", "PoolMetrics", "PoolOptions", "PoolStream", "Push", "StreamPool"),
    "seq2seq.pair": ("Seq2Seq", "load_seq2seq"),
    "session": ("Session",),
    "state": ("State",),
    "stream": ("Stream",),
}
_HOMES = {name: f"rnnx_runtime.{module}" for module, names in _NAMES.items() for name in names}
"""Names and where they live, imported on first use: a command line that prints its help need not load NumPy."""

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
    "ManyOutputs",
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
