"""rnnx_runtime: run an exported recurrent model with NumPy and one engine.

import rnnx_runtime

with rnnx_runtime.load("model.onnx") as session:
    output, state = session.run(x)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rnnx_runtime.backends import BACKEND_NAMES, BackendName
from rnnx_runtime.contract import Contract, TensorSpec
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
from rnnx_runtime.model_contract import ModelContract
from rnnx_runtime.model_loading import load_model
from rnnx_runtime.model_session import ModelSession
from rnnx_runtime.session import Session
from rnnx_runtime.state import State
from rnnx_runtime.stream import Stream

if TYPE_CHECKING:
    from rnnx_runtime.pool import CompletionQueue, PoolMetrics, PoolOptions, PoolStream, Push, StreamPool

_OF_POOL = ("CompletionQueue", "PoolMetrics", "PoolOptions", "PoolStream", "Push", "StreamPool")
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
    "ModelContract",
    "ModelSession",
    "PoolClosedError",
    "PoolMetrics",
    "PoolOptions",
    "PoolOverloaded",
    "PoolStream",
    "Push",
    "PushCancelled",
    "RnnxError",
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
    "load_model",
]


def __getattr__(name: str) -> Any:
    if name in _OF_POOL:
        return getattr(import_module("rnnx_runtime.pool"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
