"""A session: one opened model, run with arrays and a state that is a value."""

from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime.backends import Backend
from rnnx_runtime.contract import Contract, TensorSpec
from rnnx_runtime.errors import InputError, SessionClosedError
from rnnx_runtime.state import State

Array = NDArray[Any]


class Session:
    """An opened model. `spec` is its contract, `device` says where it really runs.

    T is time, B batch, I input size, H hidden size, P the width of `h`, L layers, D directions. Results never alias
    arguments or each other's next values. Not safe to share between threads.
    """

    def __init__(self, contract: Contract, backend: Backend) -> None:
        self.spec = contract
        self._backend: Backend | None = backend
        self.device = backend.device
        self._x, *rest = contract.inputs
        self._states = [spec for spec in rest if spec.name in ("h0", "c0")]
        self._time_axis = self._x.dims.index("T") if "T" in self._x.dims else None
        self._batch_axis = self._x.dims.index("B")

    def run(self, x: Array, state: State | None = None, lengths: Array | None = None) -> tuple[Array, State]:
        """Run the model over `x` from `state`.

        Args:
            x: float32 `(T, B, I)`; `(B, T, I)` for a batch-first model, `(B, I)` for a step, `(N, B, I)` for an
                unrolled decoder of N steps.
            state: the state to start from; zeros when left out.
            lengths: integers `(B,)` in 1..T, for a model exported with lengths; T for every row when left out.

        Returns:
            `output` (`hn` for a step) and the last state.

        Raises:
            InputError: a wrong type, dtype, rank or size, or an argument that this model does not take.
            SessionClosedError: the session was closed.
            BackendError: the backend failed.
        """
        self._check_array(x, self._x)
        batch = x.shape[self._batch_axis]
        feeds = {"x": np.ascontiguousarray(x)}
        if self._states:
            self._feed_state(feeds, self.initial_state(batch) if state is None else state, batch)
        elif state is not None:
            raise _unexpected("state", "a model exported with --no-state-inputs", "export it with state inputs")
        if self.spec.lengths:
            feeds["lengths"] = self._checked_lengths(lengths, batch, x.shape[self._time_axis or 0])
        elif lengths is not None:
            raise _unexpected("lengths", "a model exported without --lengths", "export it with --lengths")
        return self._results(self._open_backend().run(feeds))

    def step(self, x: Array, state: State | None = None) -> tuple[Array, State]:
        """One time step over `x (B, I)`: `y, state = session.step(x, state)`.

        Returns:
            `y (B, D·P)` and the next state.

        Raises:
            InputError: as `run`; also for a bidirectional encoder, which has no single next step, and for an
                unrolled decoder of more than one step.
        """
        if self.spec.form == "step":
            return self.run(x, state)
        if (self.spec.directions if self.spec.form == "encoder" else self.spec.steps) == 1:
            axis = self._time_axis or 0
            self._check_array(x, TensorSpec(name="x", dtype="float32", dims=("B", self.spec.input_size)))
            y, state = self.run(np.expand_dims(x, axis), state)
            return y.squeeze(axis), state
        raise InputError(
            "step",
            got="a bidirectional encoder" if self.spec.form == "encoder" else f"{self.spec.steps} unrolled steps",
            expected="a model with a single next step",
            remedy="use run, or export the decoder with --form step",
        )

    def initial_state(self, batch: int) -> State:
        """A state of zeros for `batch` rows.

        Raises:
            InputError: batch is not a positive whole number.
        """
        if not isinstance(batch, int | np.integer) or batch < 1:
            raise InputError("batch", got=repr(batch), expected="a whole number ≥ 1", remedy="give the number of rows")
        spec = self.spec
        lead = (spec.layers * spec.directions,) if spec.form == "encoder" else ()
        h = np.zeros((*lead, batch, spec.projection_size), np.float32)
        return State(h, np.zeros((*lead, batch, spec.hidden_size), np.float32) if spec.cell == "lstm" else None)

    def close(self) -> None:
        """Free the backend; closing twice is harmless."""
        backend, self._backend = self._backend, None
        if backend is not None:
            backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open_backend(self) -> Backend:
        if self._backend is None:
            raise SessionClosedError(
                "session", got="a call after close", expected="an open session", remedy="load the model again"
            )
        return self._backend

    def _results(self, values: list[Array]) -> tuple[Array, State]:
        last = 0 if self.spec.form == "step" else 1
        state = State(values[last], values[last + 1] if self.spec.cell == "lstm" else None)
        return values[0], state

    def _feed_state(self, feeds: dict[str, Array], state: object, batch: int) -> None:
        if not isinstance(state, State):
            remedy = f"give {'State(h, c)' if self.spec.cell == 'lstm' else 'State(h)'}"
            raise InputError("state", got=type(state).__name__, expected="a State", remedy=remedy)
        for spec, value in zip(self._states, (state.h, state.c), strict=False):
            self._check_array(value, spec)
            if value is not None and value.shape[-2] != batch:
                raise InputError(
                    f"state {spec.name!r}",
                    got=f"batch {value.shape[-2]}",
                    expected=f"batch {batch}, as in x",
                    remedy=f"x is {self._x.shape} here; " + self._layout_hint(),
                )
            feeds[spec.name] = np.ascontiguousarray(value)
        if self.spec.cell == "gru" and state.c is not None:
            raise _unexpected("state.c", "a GRU, which has no c", "give State(h)")

    def _layout_hint(self) -> str:
        other = "(B, T, I)" if not self.spec.batch_first else "(T, B, I)"
        return f"if your data is {other}, swap its first two axes" if self.spec.form == "encoder" else "align both"

    def _check_array(self, value: object, spec: TensorSpec) -> None:
        if (
            isinstance(value, np.ndarray)
            and value.dtype == np.float32
            and value.ndim == len(spec.dims)
            and all(
                size == dim if isinstance(dim, int) else size > 0
                for size, dim in zip(value.shape, spec.dims, strict=True)
            )
        ):
            return
        raise _wrong_array(value, spec)

    def _checked_lengths(self, lengths: Array | None, batch: int, time: int) -> Array:
        if lengths is None:
            return np.full(batch, time, np.int32)
        values = np.asarray(lengths)
        if values.shape != (batch,) or values.dtype.kind not in "iu":
            got = f"{values.dtype} {values.shape}"
        elif values.min() < 1 or values.max() > time:
            got = f"values from {values.min()} to {values.max()}"
        else:
            return values.astype(np.int32)
        raise InputError(
            "lengths",
            got=got,
            expected=f"whole numbers ({batch},) from 1 to {time}",
            remedy="give one length per row; PyTorch's packed sequences refuse a zero length too",
        )


def _unexpected(name: str, model: str, remedy: str) -> InputError:
    return InputError(name, got=f"{name} for {model}", expected=f"no {name}", remedy=remedy)


def _wrong_array(value: object, spec: TensorSpec) -> InputError:
    expected = f"{spec.dtype} {spec.shape}"
    if not isinstance(value, np.ndarray):
        got, remedy = type(value).__name__, "give a NumPy array"
    else:
        got = f"{value.dtype} {value.shape}"
        if value.dtype != np.float32:
            remedy = "cast it with .astype('float32')"
        elif 0 in value.shape:
            remedy = "no dim may be empty"
        else:
            remedy = "reshape it to the model's contract (session.spec)"
    return InputError(f"input {spec.name!r}", got=got, expected=expected, remedy=remedy)
