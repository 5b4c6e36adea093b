"""Timing figures as values, each with its interval."""

from collections.abc import Mapping
from dataclasses import dataclass

from rnnx.timing.fingerprint import Fingerprint


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure and its 95 % bootstrap confidence interval, in the unit that the field's name says."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class LatencyRow:
    """One backend's time per call at one shape.

    Times are host to host: inputs and outputs in host memory. `device_p50_ms` is the same call with inputs and outputs
    resident on the device, by the device timer that `conditions` name; None on a CPU, where the two are the same.
    `ratio` is PyTorch on CPU's time over this backend's, each round by itself; None where PyTorch did not run.
    `quantiles_ms` are the 101 percentiles 0 to 100 of all calls, for a plot. `warm_up_calls` were made until the time
    was stable; `stable` says whether it became so. `conditions` states what the figures depend on: threads, TF32, CUDA
    graph, other work.
    """

    backend: str
    device: str
    p50_ms: Estimate
    p90_ms: Estimate
    p99_ms: Estimate
    max_ms: float
    device_p50_ms: Estimate | None
    ratio: Estimate | None
    steps_per_second: float
    calls: int
    rounds: int
    warm_up_calls: int
    stable: bool
    quantiles_ms: tuple[float, ...]
    conditions: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class StartUpRow:
    """What a fresh process pays before its first answer: times in s and ms, peak resident memory in MiB.

    `import_s` is importing the runtime and the engine's package, `load_s` opening the model, `first_call_ms` the first
    call. `problem` says why there are no figures.
    """

    backend: str
    import_s: float
    load_s: float
    first_call_ms: float
    peak_mib: float
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class JitterRow:
    """Streaming: `steps` single time steps at batch 1, state carried, against a deadline of `frame_ms` each.

    `misses` counts steps that took longer than a frame; `longest_at_step` counts from 0.
    """

    backend: str
    frame_ms: float
    steps: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    longest_ms: float
    longest_at_step: int
    misses: int


@dataclass(frozen=True, kw_only=True)
class ThroughputPoint:
    """Steps (rows times time steps) per second at one (T, B); `saturated`: a larger B or T of its sweep gains < 5 %."""

    backend: str
    time: int
    batch: int
    sweep: str
    steps_per_second: Estimate
    saturated: bool


@dataclass(frozen=True, kw_only=True)
class LatencyReport:
    """Times at one shape (`sizes`, such as `{"T": 50, "B": 1}`); they never decide a parity verdict."""

    sizes: Mapping[str, int]
    threads: int
    rows: tuple[LatencyRow, ...]
    start_up: tuple[StartUpRow, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BenchReport:
    """All timing figures of one model, with what they were measured on.

    `model_sha256` is the file's, `weights_sha256` the weights': another export of the same weights can be compared.
    `other_work` is what else the machine did while throughput was measured; a row's conditions say it of latency.
    """

    model: str
    model_sha256: str
    weights_sha256: str
    latency: LatencyReport
    jitter: tuple[JitterRow, ...]
    throughput: tuple[ThroughputPoint, ...]
    other_work: str
    fingerprint: Fingerprint
    notes: tuple[str, ...] = ()
