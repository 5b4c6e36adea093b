"""One conversation on a session: a state that stays with it, and frames that arrive one by one or in chunks."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, overload

import numpy as np

from rnnx_runtime.array_type import Array
from rnnx_runtime.arrays.array_views import array_from_view
from rnnx_runtime.arrays.frame_layout import FrameLayout
from rnnx_runtime.arrays.stream_ends import StreamEnds, last_chunk
from rnnx_runtime.bound_step import BoundStep
from rnnx_runtime.contract import Contract, TensorSpec
from rnnx_runtime.errors import InputError
from rnnx_runtime.snapshot import snapshot_from_state, state_from_snapshot
from rnnx_runtime.state import DeviceTensor, Part, State, state_of
from rnnx_runtime.stepper import Stepper

Snapshot = bytes | bytearray | memoryview


class StreamedSession(Protocol):
    """What a stream needs of a session."""

    @property
    def spec(self) -> Contract: ...

    def initial_state(self, batch: int) -> State: ...

    def run(self, inputs: Any, state: State | None, /) -> tuple[Any, State]: ...

    def step(self, inputs: Any, state: State | None, /) -> tuple[Any, State]: ...

    def bound_step(self, inputs: Any, state: State, /) -> BoundStep | None: ...


class Stream:
    """One conversation: frames go in, outputs come out, and the state stays here, on its device where it has one.

    Many streams may share a session, from any threads; one stream is not for two threads at once. For many streams at
    once a pool batches their pushes.
    """

    def __init__(
        self,
        session: StreamedSession,
        snapshot: Snapshot | None = None,
        *,
        any_weights: bool = False,
        allow_chunked: bool = False,
    ) -> None:
        """Start from zeros, or go on from a snapshot.

        Args:
            session: the model.
            snapshot, any_weights: as of `restore`.
            allow_chunked: stream a model whose chunks give something else than the whole sequence.

        Raises:
            InputError: the model does not stream; says which layer or what is in the way.
            SnapshotError: as `restore`.
        """
        spec = session.spec
        refuse_without_next(spec, "stream", allow_chunked=allow_chunked)
        self._session = session
        self._layout = layout = FrameLayout(spec)
        self._specs = spec.state_specs
        lone = layout.lone if layout.lone_output else None
        steps = layout.steps in (None, 1)
        ends = StreamEnds(spec)
        steps = steps and ends.is_plain
        self._usual = tuple(lone.frame_dims) if lone and steps else None  # equals a shape where all dims are sizes
        self._dtype = np.dtype(lone.spec.dtype) if lone else None
        self._row_in = lone.row_indexed(None) if lone else ()
        self._row_out = layout.lone_output.row_indexed(0) if layout.lone_output else ()
        self._stepper = Stepper(session)
        self._ends = ends
        self._frame: tuple[Any, ...] | None = None
        self._begin()
        if snapshot is not None:
            self.restore(snapshot, any_weights=any_weights)

    @property
    def frames(self) -> int:
        """The frames pushed since the start, or the last `reset` or `restore`."""
        return self._frames

    @property
    def state(self) -> State:
        """The state after the last push, with B = 1; a value that no later push or writing to it changes."""
        state = self._stepper.state_so_far
        return self._session.initial_state(1) if state is None else self._owned(state)

    @overload
    def push(self, x: Mapping[str, Any], *, out: None = None) -> dict[str, Array]: ...

    @overload
    def push(self, x: Any, *, out: Array | None = None) -> Array: ...

    def push(self, x: Any, *, out: Array | None = None) -> Any:
        """Push a frame such as `(I,)` or a chunk such as `(T, I)`, and get its output, `(P,)` or `(T, P)`.

        A chunk gives what its frames one by one would, but for rounding. An unrolled decoder of N steps takes chunks of
        N frames. A push that fails leaves the state and `out` as they were.

        A model that gives its results late (`spec.streaming`) gives those of the whole sequence that are known, which
        may be none, always with their axis of time; `flush` gives the rest. One with a stride takes multiples of it.

        Args:
            x: anything that NumPy or DLPack can view in host memory, of the model's dtype; of a model with several
                plain inputs a mapping, which gives a mapping of the outputs.
            out: an array of the one output's shape to copy it to, which is then returned.

        Raises:
            InputError: a wrong name, type, dtype or shape.
            SessionClosedError: the session was closed.
            ForkedError: the session was loaded in another process.
            BackendError: the backend failed.
        """
        if type(x) is np.ndarray and x.dtype is self._dtype and x.shape == self._frame and out is None:
            y = self._stepper.step(x[self._row_in])
            self._frames += 1
            return y[self._row_out]
        return self._push_any(x, out)

    @overload
    def flush(self, x: Mapping[str, Any]) -> dict[str, Array]: ...

    @overload
    def flush(self, x: Any = None) -> Any: ...

    def flush(self, x: Any = None) -> Any:
        """End the sequence, and get what a model that gives its results late still owes.

        Args:
            x: the last frames, as a chunk of any length; none when left out.

        Returns:
            The last results, with their axis of time: what all pushes gave and these are the whole sequence's.

        Raises:
            InputError: the stream was flushed before, or as `push`; the stream is then as it was.
            SessionClosedError, ForkedError, BackendError: as `push`.
        """
        self._refuse_over()
        if not self._ends.is_plain:
            results = self._flushed(x)
        else:
            last = None if x is None else self._layout.last_frames(x)
            is_empty = last is None or self._layout.count(last) == 0
            results = self._layout.nothing() if is_empty else self._push_any(last, None)
        self._is_over, self._frame = True, None
        by_name = isinstance(x, Mapping) or self._layout.lone_output is None
        return results if by_name else next(iter(results.values()))

    def reset(self, state: Mapping[str, Any] | None = None) -> None:
        """Start again from zeros, or from a state with B = 1, such as another stream's `state`.

        Raises:
            InputError: no State, or one of other names, another dtype or shape.
        """
        self._stepper.reset(None if state is None else self._owned(state))
        self._begin()

    def snapshot(self) -> bytes:
        """The state as bytes, to go on from in any process, on any backend and in any form of the same model."""
        state = self._stepper.state_so_far or self._session.initial_state(1)
        rows = [_row(state[spec.name], spec) for spec in self._specs]
        return snapshot_from_state(rows, self._session.spec)

    def restore(self, data: Snapshot, *, any_weights: bool = False) -> None:
        """Go on from a snapshot; a refused one leaves the state as it was.

        Args:
            data: what `snapshot` of a stream gave, here or elsewhere.
            any_weights: take a snapshot of a model with other weights too, such as an earlier version of this one.

        Raises:
            SnapshotError: no snapshot, of another format version, damaged, or of another model.
        """
        rows = state_from_snapshot(data, self._session.spec, any_weights=any_weights)
        values = tuple(_as_batch(row, spec) for spec, row in zip(self._specs, rows, strict=True))
        self._stepper.reset(state_of(self._session.initial_state(1).names, values))
        self._begin()

    def _begin(self) -> None:
        """Count frames from here, and a model's results from where its own count says."""
        self._frames, self._first, self._is_over, self._frame = 0, 0, False, self._usual
        streaming, state = self._session.spec.streaming, self._stepper.state_so_far
        if state is None:
            return
        if streaming.position:
            self._first = int(np.asarray(state[streaming.position]).item())
        if streaming.end and int(np.asarray(state[streaming.end]).item()) > 0:
            self._is_over, self._frame = True, None

    def _refuse_over(self) -> None:
        if self._is_over:
            raise ended("stream")

    def _push_any(self, x: Any, out: Array | None) -> Any:
        """A push that is not the usual frame into a new array."""
        self._refuse_over()
        values, is_chunk = self._layout.checked(x)
        count = self._layout.count(values) if is_chunk else 1
        by_name = isinstance(x, Mapping) or self._layout.lone_output is None
        if not self._ends.is_plain:
            if out is not None:
                raise InputError(
                    "out",
                    got=type(out).__name__,
                    expected="none, for a model whose results may come late",
                    remedy="leave it out for new arrays",
                )
            results = self._late(self._layout.as_chunk(values, is_chunk), count)
            return results if by_name else next(iter(results.values()))
        if out is not None:
            self._check_out(out, values, count if is_chunk else None, by_name)
        if is_chunk:
            run = self._run_chunk if self._layout.has_time else self._run_steps
            results, state = run(values, self._stepper.state_so_far)
            self._stepper.go_on_from(state)
        else:
            results = self._step(values)
        self._frames += count
        if by_name:
            return results
        (y,) = results.values()
        if out is None:
            return y
        out[...] = y
        return out

    def _late(self, values: Mapping[str, Array], count: int, frames: int | None = None) -> dict[str, Array]:
        """What a call of so many steps gives of the whole; `frames` is the sequence's length where it has ended."""
        ends, state = self._ends, self._stepper.state_so_far
        end = self._session.spec.streaming.end
        if frames is not None and end:
            state = self._session.initial_state(1) if state is None else state
            parts = dict(zip(state.names, state.parts, strict=True))
            state = state_of(state.names, tuple({**parts, end: np.full((1,), frames, np.int64)}.values()))
        results, following = self._run(values, state, is_chunk=True)
        self._stepper.go_on_from(following)
        first, self._first = self._first, self._first + count
        self._frames += count * ends.multiple if frames is None else frames - first * ends.multiple
        found = {}
        for name, value in results.items():
            own = self._layout.outputs[name]
            kept = ends.kept(name, first, count, frames)
            found[name] = value[(slice(None),) * own.chunk_axis + (kept,)] if own.is_sequence else value
        return found

    def _flushed(self, x: Any) -> dict[str, Array]:
        values, steps, frames = last_chunk(x, self._layout, self._ends)
        length = self._first * self._ends.multiple + frames
        if refusal := self._ends.why_too_short(length):
            raise refusal
        return self._layout.nothing() if values is None else self._late(values, steps, length)

    def _step(self, values: Mapping[str, Array]) -> dict[str, Array]:
        layout = self._layout
        outputs = self._stepper.step({name: values[name][own.row_indexed(None)] for name, own in layout.inputs.items()})
        return {name: value[layout.outputs[name].row_indexed(0)] for name, value in outputs.items()}

    def _run_chunk(self, values: Mapping[str, Array], state: State | None) -> tuple[dict[str, Array], State]:
        return self._run(values, state, is_chunk=True)

    def _run(self, values: Mapping[str, Array], state: State | None, is_chunk: bool) -> tuple[dict[str, Array], State]:
        layout = self._layout
        inputs = {name: values[name][own.indexed(None, chunk=is_chunk)] for name, own in layout.inputs.items()}
        outputs, following = self._session.run(inputs, state)
        found = {name: value[layout.outputs[name].indexed(0, chunk=is_chunk)] for name, value in outputs.items()}
        return found, following

    def _run_steps(self, values: Mapping[str, Array], state: State | None) -> tuple[dict[str, Array], State]:
        """A chunk on a model of one step, its rows as batches of one."""
        rows: list[dict[str, Array]] = []
        for t in range(self._layout.count(values)):
            y, state = self._run({name: value[t] for name, value in values.items()}, state, is_chunk=False)
            rows.append(y)
        assert state is not None  # a chunk has at least one frame
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}, state

    def _check_out(self, out: Any, values: Mapping[str, Array], count: int | None, by_name: bool) -> None:
        lone, taken = self._layout.lone_output, next(iter(values.values()))
        dims = () if lone is None else lone.frame_dims
        if by_name or lone is None or not all(isinstance(dim, int) for dim in dims):
            raise InputError(
                "out",
                got=type(out).__name__,
                expected=f"none, for a push of {'several inputs' if by_name else taken.shape}",
                remedy="leave it out for new arrays",
            )
        shape = tuple(int(dim) for dim in dims)
        if count is not None and (lone.is_sequence or not self._layout.has_time):
            axis = lone.chunk_axis
            shape = (*shape[:axis], count, *shape[axis:])
        self._layout.check_out(out, shape, lone.spec.dtype)

    def _owned(self, state: Any) -> State:
        """A state with B = 1 that no caller can change: arrays are copied, a device's tensors never change."""
        return state_of(self._session.initial_state(1).names, owned_parts(state, self._specs))

    def __repr__(self) -> str:
        return f"<Stream: {self._frames} frames, on {self._session!r}>"


def ended(subject: str) -> InputError:
    """The error of a push after the sequence's end."""
    return InputError(
        subject,
        got="a sequence that flush() has ended",
        expected="one that goes on",
        remedy="call reset() to begin another",
    )


def refuse_without_next(spec: Contract, subject: str, *, allow_chunked: bool = False) -> None:
    """Refuse a model that does not stream, or whose chunks are not the whole but where that was asked for.

    Raises:
        InputError: it does not; says which layer or what is in the way.
    """
    kind, reason = spec.streaming.kind, spec.streaming.reason
    if kind in ("exact", "delayed") or (kind == "chunked" and allow_chunked):
        return
    if kind == "chunked":
        raise InputError(
            subject,
            got=f"a model whose chunks are not the whole sequence: {reason}",
            expected="a model that goes on from a state",
            remedy="run whole sequences with Session.run, or session.stream(allow_chunked=True) where that is meant",
        )
    stateless = not spec.states
    raise InputError(
        subject,
        got=reason,
        expected="a model that goes on from a state",
        remedy="export it with state inputs" if stateless else "run whole sequences with Session.run",
    )


def owned_parts(state: Any, specs: Sequence[TensorSpec]) -> tuple[Part, ...]:
    """The parts of one stream's state, with B = 1, in the order of the specs; arrays are copies.

    Raises:
        InputError: no state, or one of other names, another dtype or shape.
    """
    names = [spec.name for spec in specs]
    if not isinstance(state, Mapping) or set(state) != set(names):
        got = f"State({', '.join(state)})" if isinstance(state, Mapping) else type(state).__name__
        remedy = "give the state of one stream, such as another stream's state"
        raise InputError("state", got=got, expected=f"State({', '.join(names)})", remedy=remedy)
    parts = dict(zip(state.names, state.parts, strict=True)) if type(state) is State else state
    return tuple([_owned_part(parts[spec.name], spec) for spec in specs])


def _row(value: Any, spec: TensorSpec) -> Any:
    """A state without the axis of batch; of a fixed batch it has none."""
    return value.take(0, spec.dims.index("B")) if "B" in spec.dims else value


def _as_batch(row: Array, spec: TensorSpec) -> Array:
    return np.expand_dims(row, spec.dims.index("B")) if "B" in spec.dims else row


def _owned_part(value: Any, spec: TensorSpec) -> Part:
    shape = tuple(1 if dim == "B" else dim for dim in spec.dims)
    if not isinstance(value, np.ndarray) and isinstance(value, DeviceTensor):
        if _is_of(tuple(value.shape), shape):
            return value
        got = f"{tuple(value.shape)} on a device"
    else:
        array = array_from_view(value, f"state {spec.name!r}", f"{spec.dtype} {shape}")
        if array.dtype == spec.dtype and _is_of(array.shape, shape):
            return array.copy()
        got = f"{array.dtype} {array.shape}"
    remedy = "give the state of one stream, with B = 1"
    raise InputError(f"state {spec.name!r}", got=got, expected=f"{spec.dtype} {shape}", remedy=remedy)


def _is_of(shape: tuple[int, ...], dims: tuple[int | str, ...]) -> bool:
    return len(shape) == len(dims) and all(
        isinstance(dim, str) or size == dim for size, dim in zip(shape, dims, strict=True)
    )
