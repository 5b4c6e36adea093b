"""A pool of streams on one model: continuous batching at the cell.

Requests, the line, slots, the thread that runs the steps, and the metrics belong here.
"""

from rnnx_runtime.pool.completions import CompletionQueue
from rnnx_runtime.pool.many import ManyOutputs
from rnnx_runtime.pool.metrics import HistogramSnapshot, PoolMetrics
from rnnx_runtime.pool.options import PoolOptions
from rnnx_runtime.pool.requests import Push
from rnnx_runtime.pool.stream_pool import StreamPool
from rnnx_runtime.pool.streams import PoolStream

__all__ = [
    "CompletionQueue",
    "HistogramSnapshot",
    "ManyOutputs",
    "PoolMetrics",
    "PoolOptions",
    "PoolStream",
    "Push",
    "StreamPool",
]
