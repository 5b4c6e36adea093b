"""What the pool's tests run on: a cell in whole numbers that can be held and can fail, and a clock set by hand."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.contracts import changed, contract_of

from rnnx_runtime import Contract, Session, State
from rnnx_runtime.contract import Source

Array = NDArray[Any]

PATIENCE_S = 20.0
"""How long a test waits for what must happen; it never waits this long where the pool is right."""

CONTRACT = contract_of(
    form="encoder",
    cell="lstm",
    input_size=3,
    hidden_size=4,
    projection_size=4,
    layers=1,
    directions=1,
    steps=None,
    batch_first=False,
    state_inputs=True,
    lengths=False,
    precision="float32",
    formulation="fused",
    source=Source(file="fake.pt", module="rnn", weights_sha256="ab" * 32),
)


class CellBackend:
    """A recurrence whose results are exact, differ with every frame's place in its stream, and know no other row.

    With s the sum of a layer's input, m the weights and j the column: h' = (m·h + s + j) mod 1009, and for LSTM
    c' = (c + h') mod 1013. Whole frames give whole numbers, which float32 holds exactly.
    """

    device = "fake"

    def __init__(self, contract: Contract, weights: int = 3) -> None:
        self.contract = contract
        self.weights = weights
        self.frames: list[Array] = []
        """The x of every run that began, `(k, B, I)`."""
        self.failures: deque[BaseException] = deque()
        """What the next runs raise."""
        self.closed = 0
        self._gate = threading.Condition()
        self._is_held = False
        self._passes = 0
        self._entered = threading.Semaphore(0)

    def run(self, feeds: Mapping[str, Any], out: Mapping[str, Array] | None = None) -> list[Any]:
        """The outputs in the contract's order."""
        x = self._with_time(feeds["x"])
        self.frames.append(x)
        with self._gate:
            if self._is_held:
                self._entered.release()
                self._gate.wait_for(lambda: not self._is_held or self._passes > 0)
                self._passes -= self._is_held
        if self.failures:
            raise self.failures.popleft()
        return self._outputs(x, feeds["h0"], feeds.get("c0"))

    def hold(self) -> None:
        """Keep every run from now on until `let_go`."""
        with self._gate:
            self._is_held = True

    def wait_until_held(self) -> None:
        """Wait until one more run has begun and is held."""
        assert self._entered.acquire(timeout=PATIENCE_S), "no run began"

    def let_go(self) -> None:
        """Let held runs end, and later ones run through."""
        with self._gate:
            self._is_held, self._passes = False, 0
            self._gate.notify_all()

    def let_one_go(self) -> None:
        """Let one run end, and hold the next."""
        with self._gate:
            self._passes += 1
            self._gate.notify_all()

    def close(self) -> None:
        """Count the calls: there may be one."""
        self.closed += 1

    def _with_time(self, x: Array) -> Array:
        if self.contract.layer().form == "step":
            return x[None]
        return x.swapaxes(0, 1) if self.contract.layer().batch_first else x

    def _outputs(self, x: Array, h0: Array, c0: Array | None) -> list[Array]:
        has_layers = h0.ndim == 3
        h, c = h0.reshape(-1, *h0.shape[-2:]).copy(), None if c0 is None else c0.reshape(-1, *c0.shape[-2:]).copy()
        columns = np.arange(h.shape[-1], dtype=np.float32)
        rows = []
        for frame in x:
            below = frame.sum(axis=-1, keepdims=True)
            for layer in range(len(h)):
                h[layer] = (self.weights * h[layer] + below + columns) % 1009
                below = h[layer]
                if c is not None:
                    c[layer] = (c[layer] + below) % 1013
            rows.append(below.copy())
        y = np.stack(rows, axis=1 if self.contract.layer().batch_first else 0)
        states = [part if has_layers else part[0] for part in (h, c) if part is not None]
        return states if self.contract.layer().form == "step" else [y, *states]


def session_of(weights: int = 3, **changes: Any) -> tuple[Session, CellBackend]:
    """A session on the fake cell, with its backend."""
    contract = changed(CONTRACT, **changes)
    backend = CellBackend(contract, weights)
    return Session(contract, backend), backend


class Lone:
    """One stream in a session of its own, one frame at a time: what a stream of a pool must equal."""

    def __init__(self, session: Session, state: State | None = None) -> None:
        self._session = session
        self.state = state or session.initial_state(1)

    def push(self, x: Array) -> Array:
        """The outputs of a frame `(I,)` or a chunk `(T, I)`."""
        if x.ndim == 2:
            return np.stack([self.push(frame) for frame in x])
        y, self.state = self._session.step(x[None], self.state)
        output: Array = y[0].copy()
        return output


def lone(weights: int = 3, **changes: Any) -> Lone:
    """A lone stream on the fake cell."""
    return Lone(session_of(weights, **changes)[0])


def frame(value: float) -> Array:
    """A frame whose numbers tell which it is."""
    return np.array([value, 0, 1], np.float32)


def chunk(*values: float) -> Array:
    """A chunk of such frames."""
    return np.stack([frame(value) for value in values])


def firsts(run: Array) -> list[list[int]]:
    """The first number of every row's frame, for each time of a run: who took part."""
    return [[int(value) for value in rows] for rows in run[:, :, 0].tolist()]


def same_state(state: State, other: State) -> bool:
    """Whether no number differs."""
    return all(
        (one is None and two is None) or (one is not None and two is not None and np.array_equal(one, two))
        for one, two in ((state.h, other.h), (state.c, other.c))
    )


class ManualClock:
    """A clock that goes when it is told to."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.looks = 0

    def __call__(self) -> float:
        """The time."""
        self.looks += 1
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time go on; or back, with a number below 0."""
        self.now += seconds


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Wait for something that must happen soon."""
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.001)


def in_threads(functions: Sequence[Callable[[], Any]]) -> list[Any]:
    """Call each function in a thread of its own, all at once; what each gave, or raises the first error."""
    results: list[Any] = [None] * len(functions)
    errors: list[BaseException] = []
    start = threading.Barrier(len(functions))

    def call(index: int) -> None:
        start.wait(PATIENCE_S)
        try:
            results[index] = functions[index]()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=call, args=(index,), daemon=True) for index in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(4 * PATIENCE_S)
        assert not thread.is_alive(), "a thread hangs"
    if errors:
        raise errors[0]
    return results
