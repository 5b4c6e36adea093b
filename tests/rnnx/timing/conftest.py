"""A clock that only fakes move, and candidates whose calls take the time they are told: no figure is the host's."""

import gc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from numpy.typing import NDArray
from tests.contracts import contract_of

from rnnx.timing.figures import (
    BenchReport,
    Estimate,
    JitterRow,
    LatencyReport,
    LatencyRow,
    StartUpRow,
    ThroughputPoint,
)
from rnnx.timing.fingerprint import Fingerprint
from rnnx.timing.other_work import NO_WORK, OtherWork
from rnnx.truths.cases import Case
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

    def stage_started(self, name: str, total: int, parent: str | None = None) -> None:
        self.told.append(f"{name} {total}")

    def parts_done(self, name: str, count: int) -> None:
        self.told.append(".")

    def stage_finished(self, name: str) -> None:
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
    return contract_of(
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


@pytest.fixture
def report() -> Callable[..., BenchReport]:
    """`report(p50_ms, ratio, ...)`: a bench report of one backend beside PyTorch, or without it, to vary."""
    return make_report


def make_report(
    *,
    p50_ms: float = 2.0,
    ratio: float | None = 2.0,
    width: float = 0.01,
    rate: float = 1000.0,
    peak_mib: float = 70.0,
    device_p50_ms: float | None = None,
    other_work: OtherWork = NO_WORK,
    fingerprint: Fingerprint | None = None,
    **changes: Any,
) -> BenchReport:
    """`width` is how wide the intervals are, relatively; the peak of `ort-cpu` is `rate`, PyTorch's 500."""
    rows = [replace(_row("ort-cpu", p50_ms, ratio, width, device_p50_ms), conditions={"other work": other_work.text})]
    points = [_point("ort-cpu", batch, rate * min(batch, 4) / 4, width) for batch in (1, 2, 4, 8)]
    if ratio is not None:
        rows.insert(0, _row("pytorch-cpu", p50_ms * ratio, 1.0, width, None))
        points += [_point("pytorch-cpu", batch, 500.0, width) for batch in (1, 2, 4)]
    start_up = (
        StartUpRow(backend="ort-cpu", import_s=0.1, load_s=0.2, first_call_ms=3.0, peak_mib=peak_mib),
        StartUpRow(backend="ort-cuda", import_s=0.0, load_s=0.0, first_call_ms=0.0, peak_mib=0.0, problem="no GPU"),
    )
    latency = LatencyReport(sizes={"T": 50, "B": 1}, threads=1, rows=tuple(rows), start_up=start_up)
    values: dict[str, Any] = {
        "model": "model.onnx",
        "model_sha256": "cd" * 32,
        "weights_sha256": "ab" * 32,
        "latency": latency,
        "jitter": (_JITTER,),
        "throughput": tuple(points),
        "other_work": other_work.text,
        "fingerprint": fingerprint or QUIET,
        "notes": ("a note",),
    }
    return BenchReport(**values | changes)


QUIET = Fingerprint(
    machine={"processor": "some", "cores": "2", "load average": "0.10 0.2 0.3 1/9 42"}, versions={"rnnx": "0.1.0"}
)

_JITTER = JitterRow(
    backend="ort-cpu",
    frame_ms=10.0,
    steps=100,
    p50_ms=0.05,
    p99_ms=0.1,
    p999_ms=0.2,
    longest_ms=11.5,
    longest_at_step=7,
    misses=1,
)


def _row(backend: str, p50_ms: float, ratio: float | None, width: float, device_ms: float | None) -> LatencyRow:
    return LatencyRow(
        backend=backend,
        device="CPU",
        p50_ms=_around(p50_ms, width),
        p90_ms=_around(1.2 * p50_ms, width),
        p99_ms=_around(2 * p50_ms, width),
        max_ms=3 * p50_ms,
        device_p50_ms=None if device_ms is None else _around(device_ms, width),
        ratio=None if ratio is None else _around(ratio, width),
        steps_per_second=50_000 / p50_ms,
        calls=400,
        rounds=20,
        warm_up_calls=20,
        stable=True,
        quantiles_ms=tuple(p50_ms * (0.5 + i / 100) for i in range(101)),
        conditions={"threads": "1"},
    )


def _point(backend: str, batch: int, rate: float, width: float) -> ThroughputPoint:
    return ThroughputPoint(
        backend=backend, time=50, batch=batch, sweep="B", steps_per_second=_around(rate, width), saturated=batch >= 4
    )


def _around(value: float, width: float) -> Estimate:
    return Estimate(value=value, low=value / (1 + width / 2), high=value * (1 + width / 2))
