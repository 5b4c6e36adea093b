"""A session: one opened model, run with arrays and a state that is a value."""

from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime.backends import Backend, DescribedBackend, DeviceBackend
from rnnx_runtime.call_gate import CallGate
from rnnx_runtime.contract import Contract
from rnnx_runtime.errors import InputError
from rnnx_runtime.feeding import Feeding
from rnnx_runtime.out_buffers import OutBuffers
from rnnx_runtime.state import State
from rnnx_runtime.stream import Snapshot, Stream

Array = NDArray[Any]
_Result = TypeVar("_Result")
Out = Array | Mapping[str, Array]


class Session:
    """An opened model. `spec` is its contract, `backend` the name of what runs it, `device` where it really runs.

    T is time, B batch, I input size, H hidden size, P the width of `h`, L layers, D directions. Results never alias
    arguments or each other's next values, unless `out` asks for it. Safe to use from many threads; `close` waits for
    the calls in flight. A process that forks must load in each child: an engine's threads and locks stay behind.
    """

    def __init__(self, contract: Contract, backend: Backend, name: str | None = None) -> None:
        self.spec = contract
        self.backend = name or type(backend).__name__
        self.device = backend.device
        self._backend = backend
        self._gate = CallGate(backend.close)
        self._feeding = Feeding(contract, backend)
        self._outputs = OutBuffers(contract)
        self._is_step = contract.form == "step"
        self._has_c = contract.cell == "lstm"
        self._owner: dict[str, object] = {}
        self._has_next = (contract.directions if contract.form == "encoder" else contract.steps or 1) == 1

    def run(
        self, x: Any, state: State | None = None, lengths: Any = None, *, out: Out | None = None
    ) -> tuple[Array, State]:
        """Run the model over `x` from `state`.

        Arguments may be anything that NumPy or DLPack can view in host memory, such as an array, a memoryview or a
        PyTorch tensor; nothing is cast, and copied only where it is not C-contiguous.

        Args:
            x: float32 `(T, B, I)`; `(B, T, I)` for a batch-first model, `(B, I)` for a step, `(N, B, I)` for an
                unrolled decoder of N steps.
            state: the state to start from; zeros when left out.
            lengths: integers `(B,)` in 1..T, for a model exported with lengths; T for every row when left out.
            out: where to write: an array for `output`, or a mapping of `output`, `hn` and `cn` to arrays, of which any
                may be left out. Each is float32, C-contiguous and exactly of its shape. The results are these arrays,
                and overlap no argument, but that `hn` and `cn` may be the very `h` and `c` of `state`, which is then
                updated in place.

        Returns:
            `output` (`hn` for a step) and the last state.

        Raises:
            InputError: a wrong type, dtype, rank or size, or an argument that this model does not take.
            SessionClosedError: the session was closed.
            ForkedError: the session was loaded in another process.
            BackendError: the backend failed.
        """
        self._gate.enter()
        try:
            feeds = self._feeding.feeds(x, state, lengths)
            if out is not None:
                return self._run_into(out, feeds)
            values = self._backend.run(feeds)  # in the contract's order: output (not for a step), hn, cn (for LSTM)
            output: Any = _copy_of(values[0]) if self._is_step else values[0]
        finally:
            self._gate.leave()
        return output, State(values[-2], values[-1]) if self._has_c else State(values[-1])

    def step(self, x: Any, state: State | None = None, *, out: Out | None = None) -> tuple[Array, State]:
        """One time step over `x (B, I)`: `y, state = session.step(x, state)`.

        Args:
            x: float32 `(B, I)`, as in `run`.
            state: the state to start from; zeros when left out.
            out: where to write, as in `run`; a lone array, or the mapping's `output`, is for `y`.

        Returns:
            `y (B, D·P)` and the next state.

        Raises:
            InputError: as `run`; also for a bidirectional encoder, which has no single next step, and for an
                unrolled decoder of more than one step.
        """
        if self._is_step:
            return self.run(x, state, out=out)
        if not self._has_next:
            raise self._no_next_step()
        x = self._feeding.x_of_step(x)
        if out is not None:
            return self._step_into(out, x, state)
        output, state = self.run(x, state)
        return output[:, 0] if self.spec.batch_first else output[0], state

    def resident(self, x: Any, state: State | None = None, lengths: Any = None) -> Callable[[], float] | None:
        """The same run with inputs and outputs resident on the device, for measuring; arguments and errors as `run`.

        Returns:
            A call that runs the model once and says the device's time in ms, valid until `run` is called with other
            sizes; None on a CPU.
        """
        run = self._gated(partial(self._resident, x, state, lengths))
        return None if run is None else partial(self._gated, run)

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

    def stream(self, snapshot: Snapshot | None = None, *, any_weights: bool = False) -> Stream:
        """One conversation on this session, from zeros or from a snapshot; arguments and errors as `Stream`."""
        return Stream(self, snapshot, any_weights=any_weights)

    def describe(self) -> dict[str, str | int | None]:
        """Where it runs and what the backend says of how, such as why it captures no CUDA graphs, as plain data."""
        said = self._backend.describe() if isinstance(self._backend, DescribedBackend) else {}
        return {"backend": self.backend, "device": self.device, **said}

    def close(self) -> None:
        """Free the backend once the calls in flight are done; closing twice is harmless, and both wait.

        In a forked child it does nothing, for the backend is the parent's.
        """
        self._gate.close()

    def claim(self, owner: object) -> None:
        """Have one owner, a pool, run and close the session.

        Raises:
            InputError: it has an owner.
            SessionClosedError: the session was closed.
        """
        self._gate.refuse_closed()
        if self._owner.setdefault("owner", owner) is not owner:
            raise InputError(
                "session",
                got="the session of a pool",
                expected="one that no pool runs",
                remedy="load the model once more for each pool and each swap",
            )

    def disclaim(self, owner: object) -> None:
        """Give back a session that was claimed and not used."""
        if self._owner.get("owner") is owner:
            self._owner.clear()

    def _run_into(self, out: Out, feeds: Any) -> tuple[Array, State]:
        buffers = self._outputs.checked(out, feeds)
        y = buffers.pop("output", None) if self._is_step else None
        values: list[Any] = self._backend.run(feeds, buffers)
        state = State(values[-2], values[-1]) if self._has_c else State(values[-1])
        if not self._is_step:
            return values[0], state
        if y is None:
            return _copy_of(values[0]), state
        y[...] = state.h
        return y, state

    def _step_into(self, out: Out, x: Array, state: State | None) -> tuple[Array, State]:
        """A step of a model whose `output` has a time axis, which the caller's buffer has not."""
        buffers = self._outputs.named(out)
        y = buffers.get("output")
        batch_first = self.spec.batch_first
        if y is not None:
            self._outputs.check_y(y, x.shape[0 if batch_first else 1])
            buffers["output"] = y[:, None] if batch_first else y[None]
        output, state = self.run(x, state, out=buffers)
        return y if y is not None else output[:, 0] if batch_first else output[0], state

    def _resident(self, x: Any, state: State | None, lengths: Any) -> Callable[[], float] | None:
        feeds = self._feeding.feeds(x, state, lengths)
        return self._backend.resident(feeds) if isinstance(self._backend, DeviceBackend) else None

    def _gated(self, call: Callable[[], _Result]) -> _Result:
        self._gate.enter()
        try:
            return call()
        finally:
            self._gate.leave()

    def _no_next_step(self) -> InputError:
        spec = self.spec
        return InputError(
            "step",
            got="a bidirectional encoder" if spec.form == "encoder" else f"{spec.steps} unrolled steps",
            expected="a model with a single next step",
            remedy="use run, or export the decoder with --form step",
        )

    def __repr__(self) -> str:
        spec = self.spec
        closed = ", closed" if self._gate.is_closing else ""
        return f"<Session: {spec.cell.upper()} {spec.form}, x {spec.inputs[0].shape}, on {self.device}{closed}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _copy_of(value: Any) -> Array:
    """A step's `y`, which holds the values of the next `h` and must not be its memory, or writing to it would show."""
    copy: Array = value.copy() if isinstance(value, np.ndarray) else value.numpy()
    return copy
