"""A stream: one conversation on a session, which keeps its state between pushes."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime.array_views import array_from_view
from rnnx_runtime.contract import Contract
from rnnx_runtime.errors import InputError
from rnnx_runtime.frame_layout import FrameLayout
from rnnx_runtime.snapshot import snapshot_from_state, state_from_snapshot
from rnnx_runtime.state import DeviceTensor, State

if TYPE_CHECKING:
    from rnnx_runtime.session import Session

Array = NDArray[Any]
Snapshot = bytes | bytearray | memoryview

_FLOAT32 = np.dtype(np.float32)


class Stream:
    """One conversation: frames go in, outputs come out, and the state stays here, on its device where it has one.

    Many streams may share a session, from any threads; one stream is not for two threads at once. For many streams at
    once a pool batches their pushes.
    """

    def __init__(self, session: "Session", snapshot: Snapshot | None = None, *, any_weights: bool = False) -> None:
        """Start from zeros, or go on from a snapshot.

        Raises:
            InputError: the model is bidirectional, or was exported without state inputs.
            SnapshotError: as `restore`.
        """
        spec = session.spec
        _refuse_without_next(spec)
        self._session = session
        self._layout = layout = FrameLayout(spec)
        self._frame, self._frame_in, self._frame_out = layout.frame, layout.frame_in, layout.frame_out
        self._is_step = spec.form == "step"
        states = (tensor for tensor in spec.inputs if tensor.name in ("h0", "c0"))
        self._shapes = {tensor.name: tuple(1 if dim == "B" else int(dim) for dim in tensor.dims) for tensor in states}
        self._state: State | None = None
        self._frames = 0
        if snapshot is not None:
            self.restore(snapshot, any_weights=any_weights)

    @property
    def frames(self) -> int:
        """The frames pushed since the start, or the last `reset` or `restore`."""
        return self._frames

    @property
    def state(self) -> State:
        """The state after the last push, with B = 1; a value that no later push or writing to it changes."""
        return self._session.initial_state(1) if self._state is None else self._owned(self._state)

    def push(self, x: Any, *, out: Array | None = None) -> Array:
        """Push a frame `(I,)` or a chunk `(T, I)`, and get its output `(P,)` or `(T, P)`.

        A chunk gives what its frames one by one would, but for rounding. An unrolled decoder of N steps takes chunks of
        N frames. A push that fails leaves the state and `out` as they were.

        Args:
            x: float32, anything that NumPy or DLPack can view in host memory.
            out: a float32 array of the output's shape to copy it to, which is then returned.

        Raises:
            InputError: a wrong type, dtype or shape.
            SessionClosedError: the session was closed.
            ForkedError: the session was loaded in another process.
            BackendError: the backend failed.
        """
        if not (type(x) is np.ndarray and x.dtype is _FLOAT32 and x.shape == self._frame):
            x = self._layout.checked(x)
        if out is not None:
            self._layout.check_out(out, x)
        if x.ndim == 1:
            y, self._state = self._session.run(x[self._frame_in], self._state)
            y = y[self._frame_out]
            self._frames += 1
        else:
            y, self._state = self._run_chunk(x)
            self._frames += len(x)
        if out is None:
            return y
        out[...] = y
        return out

    def reset(self, state: State | None = None) -> None:
        """Start again from zeros, or from a state with B = 1, such as another stream's `state`.

        Raises:
            InputError: no State, or one of another dtype or shape.
        """
        self._state = None if state is None else self._owned(state)
        self._frames = 0

    def snapshot(self) -> bytes:
        """The state as bytes, to go on from in any process, on any backend and in any form of the same model."""
        state, spec = self._state or self._session.initial_state(1), self._session.spec
        h, c = state.h.reshape(-1, spec.projection_size), state.c
        return snapshot_from_state(h, None if c is None else c.reshape(-1, spec.hidden_size), spec)

    def restore(self, data: Snapshot, *, any_weights: bool = False) -> None:
        """Go on from a snapshot; a refused one leaves the state as it was.

        Args:
            data: what `snapshot` of a stream gave, here or elsewhere.
            any_weights: take a snapshot of a model with other weights too, such as an earlier version of this one.

        Raises:
            SnapshotError: no snapshot, of another format version, damaged, or of another model.
        """
        parts = state_from_snapshot(data, self._session.spec, any_weights=any_weights)
        found = (part for part in parts if part is not None)
        self._state = State(*(part.reshape(shape) for part, shape in zip(found, self._shapes.values(), strict=True)))
        self._frames = 0

    def _run_chunk(self, x: Array) -> tuple[Array, State]:
        if self._is_step:
            return self._run_steps(x)
        y, state = self._session.run(x[self._layout.chunk_in], self._state)
        return y[self._layout.chunk_out], state

    def _run_steps(self, x: Array) -> tuple[Array, State]:
        """A chunk on a model of one step, its rows as batches of one."""
        rows, state = [], self._state
        for t in range(len(x)):
            y, state = self._session.run(x[t : t + 1], state)
            rows.append(y)
        assert state is not None  # a chunk has at least one frame
        return np.concatenate(rows), state

    def _owned(self, state: Any) -> State:
        """A state with B = 1 that no caller can change: arrays are copied, a device's tensors never change."""
        h, c = state.parts if type(state) is State else (None, None)
        parts = [h] if c is None else [h, c]
        if type(state) is not State or len(parts) != len(self._shapes):
            got = ("State(h)" if c is None else "State(h, c)") if type(state) is State else type(state).__name__
            expected = "State(h, c)" if len(self._shapes) == 2 else "State(h)"
            remedy = "give the state of a stream of this model"
            raise InputError("state", got=got, expected=expected, remedy=remedy)
        named = zip(parts, self._shapes.items(), strict=True)
        return State(*(_owned_part(part, name, shape) for part, (name, shape) in named))

    def __repr__(self) -> str:
        return f"<Stream: {self._frames} frames, on {self._session!r}>"


def _owned_part(value: Any, name: str, shape: tuple[int, ...]) -> Array | DeviceTensor:
    if not isinstance(value, np.ndarray) and isinstance(value, DeviceTensor):
        if tuple(value.shape) == shape:
            return value
        got = f"{tuple(value.shape)} on a device"
    else:
        array = array_from_view(value, f"state {name!r}", f"float32 {shape}")
        if array.dtype == _FLOAT32 and array.shape == shape:
            return array.copy()
        got = f"{array.dtype} {array.shape}"
    remedy = "give the state of one stream, with B = 1"
    raise InputError(f"state {name!r}", got=got, expected=f"float32 {shape}", remedy=remedy)


def _refuse_without_next(spec: Contract) -> None:
    if spec.directions == 2:
        got, remedy = "a bidirectional encoder, which needs the whole sequence", "run whole sequences with Session.run"
    elif not spec.state_inputs:
        got, remedy = "a model exported with --no-state-inputs", "export it with state inputs"
    else:
        return
    raise InputError("stream", got=got, expected="a model that goes on from a state", remedy=remedy)
