"""A session: one opened model, run with arrays and a state that is a value."""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime.backends import Backend, DeviceBackend
from rnnx_runtime.contract import Contract, TensorSpec
from rnnx_runtime.errors import InputError, SessionClosedError
from rnnx_runtime.feeding import Feeding, check_array
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
        self._feeding = Feeding(contract)
        self._has_c = contract.cell == "lstm"

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
        feeds = self._feeding.feeds(x, state, lengths)
        if self._backend is None:
            raise _closed()
        values = self._backend.run(feeds)  # in the contract's order: output (not for a step), hn, cn (for LSTM)
        return values[0], State(values[-2], values[-1]) if self._has_c else State(values[-1])

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
            axis = 1 if self.spec.batch_first else 0
            check_array(x, TensorSpec(name="x", dtype="float32", dims=("B", self.spec.input_size)))
            y, state = self.run(np.expand_dims(x, axis), state)
            return y.squeeze(axis), state
        raise InputError(
            "step",
            got="a bidirectional encoder" if self.spec.form == "encoder" else f"{self.spec.steps} unrolled steps",
            expected="a model with a single next step",
            remedy="use run, or export the decoder with --form step",
        )

    def resident(
        self, x: Array, state: State | None = None, lengths: Array | None = None
    ) -> Callable[[], float] | None:
        """The same run with inputs and outputs resident on the device, for measuring; arguments and errors as `run`.

        Returns:
            A call that runs the model once and says the device's time in ms, valid until `run` is called with other
            sizes; None on a CPU.
        """
        feeds = self._feeding.feeds(x, state, lengths)
        if self._backend is None:
            raise _closed()
        return self._backend.resident(feeds) if isinstance(self._backend, DeviceBackend) else None

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

    def __repr__(self) -> str:
        spec = self.spec
        closed = ", closed" if self._backend is None else ""
        return f"<Session: {spec.cell.upper()} {spec.form}, x {spec.inputs[0].shape}, on {self.device}{closed}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _closed() -> SessionClosedError:
    return SessionClosedError(
        "session", got="a call after close", expected="an open session", remedy="load the model again"
    )
