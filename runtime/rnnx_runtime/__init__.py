"""rnnx_runtime: run an exported recurrent model with NumPy and one engine.

import rnnx_runtime

with rnnx_runtime.load("model.onnx") as session:
    output, state = session.run(x)
"""

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
from rnnx_runtime.pool import PoolMetrics, PoolOptions, PoolStream, Push, StreamPool
from rnnx_runtime.session import Session
from rnnx_runtime.state import State

__all__ = [
    "BACKEND_NAMES",
    "BackendError",
    "BackendName",
    "BackendUnavailable",
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
    "RnnxError",
    "Session",
    "SessionClosedError",
    "SnapshotError",
    "State",
    "StepTimeout",
    "StreamClosedError",
    "StreamEvicted",
    "StreamPool",
    "TensorSpec",
    "load",
]
