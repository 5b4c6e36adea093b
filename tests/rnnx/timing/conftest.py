"""A clock that only fakes move, and candidates whose calls take the time they are told: no figure is the host's."""

import gc
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from numpy.typing import NDArray

from rnnx.cases import Case
from rnnx_runtime import Contract
from rnnx_runtime.contract import Form, Source

Array = NDArray[Any]


class FakeClock:
    """Call it for the time in ns; `log` are the candidates called, in order."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.log: list[str] = []
        self.gc_seen: set[bool] = set()

    def __call__(self) -> int:
        return self.now_ns

    def candidate(self, name: str, *times_ms: float) -> "FakeCandidate":
        """A candidate that takes each of `times_ms` in turn, then the last again and again."""
        return FakeCandidate(self, name, _endless(times_ms))

    def cycle(self, name: str, *times_ms: float) -> "FakeCandidate":
        """A candidate that takes `times_ms` in turn, over and over."""
        return FakeCandidate(self, name, _cycle(times_ms))

    def on_gpu(self, name: str, host_ms: float, device_ms: float) -> "FakeGpuCandidate":
        """A candidate whose calls over resident inputs take another time."""
        return FakeGpuCandidate(self, name, host_ms, device_ms)

    def pass_ms(self, name: str, time_ms: float) -> None:
        """Let time pass in a call of `name`."""
        self.now_ns += round(time_ms * 1e6)
        self.log.append(name)
        self.gc_seen.add(gc.isenabled())


class FakeCandidate:
    """Every call, timed or of a stream, takes the next of its times; `seen` are the inputs of its streams' steps."""

    device = "fake"

    def __init__(self, clock: FakeClock, name: str, times: Iterator[float]) -> None:
        self.name = name
        self.seen: list[dict[str, Array]] = []
        self.closed = False
        self._clock, self._times = clock, times

    def prepare(self, feeds: Mapping[str, Array]) -> Callable[[], object]:
        return self._call

    def outputs(self, case: Case) -> dict[str, Array]:
        self.seen.append(dict(case.feeds))
        self._call()
        return {"hn": case.feeds["h0"] + 1, "cn": case.feeds["c0"] + 2}

    def close(self) -> None:
        self.closed = True

    def _call(self) -> None:
        self._clock.pass_ms(self.name, next(self._times))


class FakeGpuCandidate(FakeCandidate):
    """One whose device tells the time itself, while the host's clock stands still."""

    def __init__(self, clock: FakeClock, name: str, host_ms: float, device_ms: float) -> None:
        super().__init__(clock, name, _endless((host_ms,)))
        self._device_ms = device_ms

    def prepare_on_device(self, feeds: Mapping[str, Array]) -> Callable[[], float]:
        return lambda: self._device_ms


def _endless(times_ms: tuple[float, ...]) -> Iterator[float]:
    yield from times_ms
    while True:
        yield times_ms[-1]


def _cycle(times_ms: tuple[float, ...]) -> Iterator[float]:
    while True:
        yield from times_ms


@pytest.fixture
def clock() -> FakeClock:
    """The clock of one test."""
    return FakeClock()


class ListeningLog:
    """A progress listener that keeps what it is told, as `latency 20` at a stage's start, `.` for a part and `end`."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def stage_started(self, name: str, total: int) -> None:
        self.told.append(f"{name} {total}")

    def part_done(self) -> None:
        self.told.append(".")

    def stage_finished(self) -> None:
        self.told.append("end")


@pytest.fixture
def listening() -> ListeningLog:
    """The listener of one test."""
    return ListeningLog()


@pytest.fixture
def step_contract() -> Contract:
    """An LSTM step, I=5, H=8."""
    return _contract("step", formulation="step")


@pytest.fixture
def encoder_contract() -> Contract:
    """A one-layer LSTM encoder with lengths, I=5, H=8."""
    return _contract("encoder", formulation="fused", lengths=True)


def _contract(form: Form, *, formulation: str, lengths: bool = False) -> Contract:
    return Contract(
        form=form,
        cell="lstm",
        input_size=5,
        hidden_size=8,
        projection_size=8,
        layers=1,
        directions=1,
        steps=None,
        batch_first=False,
        state_inputs=True,
        lengths=lengths,
        precision="float32",
        formulation=formulation,
        source=Source(file="weights.safetensors", module="", weights_sha256="ab" * 32),
    )
