"""The errors that a pool answers with, and what its metrics call them."""

from rnnx_runtime.errors import (
    BackendError,
    DeadlineExceeded,
    PoolClosedError,
    PushCancelled,
    RnnxError,
    StepTimeout,
    StreamClosedError,
    StreamEvicted,
)
from rnnx_runtime.pool.requests import Seat


def closed_pool() -> PoolClosedError:
    """The error of a request for a pool that takes nothing more."""
    return PoolClosedError("pool", got="a request after close", expected="an open pool", remedy="make a new pool")


def closed_stream(seat: Seat | None) -> RnnxError:
    """The error of a request for a stream that has no place in the pool any more."""
    name = "stream" if seat is None else f"stream {seat.name!r}"
    if seat is not None and seat.evicted:
        return StreamEvicted(
            name,
            got="a request after it was idle for longer than PoolOptions.idle_s",
            expected="an open stream",
            remedy="open a new one, with the snapshot that on_evict was given to go on",
        )
    return StreamClosedError(name, got="a request after close", expected="an open stream", remedy="open a new one")


def rejection_reason(error: BaseException | None) -> str:
    """What `PoolMetrics.rejections` counts a push as that gave no output."""
    match error:
        case DeadlineExceeded():
            return "late"
        case PushCancelled():
            return "cancelled"
        case PoolClosedError() | StreamClosedError():
            return "closed"
    return "failed"


def hanging_step(device: str, timeout_s: float) -> StepTimeout:
    """The error of pushes whose step does not come back."""
    return StepTimeout(
        f"a step on {device}",
        got=f"no result within {timeout_s} s",
        expected="a result",
        remedy="the pool takes pushes again when the step comes back; swap in a freshly loaded model to go on now",
    )


def broken_step(error: Exception) -> BackendError:
    """The error of pushes whose step raised what no backend should."""
    broken = BackendError(
        "a step", got=f"{type(error).__name__}: {error}", expected="a result", remedy="report it; the pool goes on"
    )
    broken.__cause__ = error
    return broken


def dead_thread(error: BaseException) -> BackendError:
    """The error of every request once the pool's thread has ended by a defect."""
    return BackendError(
        "pool", got=f"a defect in its thread ({error!r})", expected="steps", remedy="report it; make a new pool"
    )
