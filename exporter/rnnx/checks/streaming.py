"""Streaming: the state carried from call to call, several calls give what one call over the whole sequence gives.

For a model with an axis of time the whole is the same backend's own call over T, and both are within the limit of one
truth, so that they differ by at most twice it. A step and an unrolled decoder have no longer call to compare with:
there the whole is the float64 truth, carried through the same calls, and the limit applies once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle

from rnnx.checks.differences import Difference, allowed, conclude, differences, skipped
from rnnx.checks.probe import Probe
from rnnx.parity.results import CheckResult
from rnnx.truths.stream import Calls, Stream, obstacle, run_calls, without_truth
from rnnx_runtime.array_type import Array

RAGGED = (3, 1, 2)
"""Sizes of ragged chunks, in turn."""


@dataclass(frozen=True, kw_only=True)
class StreamCase:
    """A sequence and, where they are known, its float64 `truth` and the largest float32 errors, by output."""

    name: str
    stream: Stream
    truth: Mapping[str, Array] = field(default_factory=dict)
    float32_error: Mapping[str, float] = field(default_factory=dict)

    @property
    def time(self) -> int:
        """T."""
        return self.stream.time


def check_streaming(probe: Probe, cases: Sequence[StreamCase]) -> CheckResult:
    """Several calls with the states carried against the whole."""
    reason = obstacle(probe.contract, probe.outputs)
    if reason:
        return skipped(probe, "streaming", reason)
    if not cases:
        return skipped(probe, "streaming", "no sequence is known that the model itself has an answer for")
    steps = Calls(probe.contract)
    if steps.has_time and steps.steps is None:
        return _encoder_streaming(probe, cases)
    if not all(case.truth for case in cases):
        return skipped(probe, "streaming", without_truth(probe.contract))
    calls = " and ".join(str(case.time // (steps.steps or 1)) for case in cases)
    done = f"{calls} calls against the float64 truth"
    return conclude(probe, "streaming", done, (_against_truth(probe, case) for case in cases))


def chunkings(time: int) -> dict[str, tuple[int, ...]]:
    """Ways to cut `time` steps, each once."""
    half = time // 2
    ways = {"one step at a time": (1,) * time, "halves": (time - half, half), "ragged chunks": _ragged(time)}
    found: dict[tuple[int, ...], str] = {}
    for name, sizes in ways.items():
        if 0 not in sizes and len(sizes) > 1:
            found.setdefault(sizes, name)
    return {name: sizes for sizes, name in found.items()}


def _ragged(time: int) -> tuple[int, ...]:
    sizes: list[int] = []
    for size in cycle(RAGGED):
        left = time - sum(sizes)
        if left <= size:
            return (*sizes, left)
        sizes.append(size)
    raise AssertionError  # a cycle has no end


def _encoder_streaming(probe: Probe, cases: Sequence[StreamCase]) -> CheckResult:
    ways = list(dict.fromkeys(name for case in cases for name in chunkings(case.time)))
    parts = (_in_chunks(probe, case, name) for case in cases for name in chunkings(case.time))
    return conclude(probe, "streaming", f"{', '.join(ways)} against one call", parts)


def _in_chunks(probe: Probe, case: StreamCase, way: str) -> Iterator[Difference]:
    whole, carried = (
        run_calls(probe.run, probe.contract, case.stream, sizes).named()
        for sizes in ((case.time,), chunkings(case.time)[way])
    )
    limits = {name: 2 * limit for name, limit in _limits(probe, case, whole).items()}
    yield from differences(f"{case.name} {way}", carried, whole, limits)


def _against_truth(probe: Probe, case: StreamCase) -> Iterator[Difference]:
    size = Calls(probe.contract).steps or 1
    carried = run_calls(probe.run, probe.contract, case.stream, (size,) * (case.time // size)).named()
    yield from differences(case.name, carried, case.truth, _limits(probe, case, case.truth))


def _limits(probe: Probe, case: StreamCase, values: Mapping[str, Array]) -> dict[str, float]:
    return allowed(probe, values, case.stream.frames, case.time, case.float32_error)
