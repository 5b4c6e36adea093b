"""Streaming: how regularly single time steps come, with the state carried from each to the next.

Steps follow each other at once; a real stream waits between frames, so that its caches may be colder.
"""

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Protocol, runtime_checkable

import numpy as np

from rnnx.progress import ProgressListener, stage
from rnnx.runners.candidates import Candidate
from rnnx.timing.figures import JitterRow
from rnnx.timing.inputs import timing_feeds
from rnnx.timing.stopwatch import Clock, Measure, host_timed, undisturbed
from rnnx.truths.cases import Case
from rnnx.truths.model_cases import CaseSource
from rnnx_runtime.array_type import Array
from rnnx_runtime.arrays.time_axis import time_of, why_no_next_step
from rnnx_runtime.contract import Contract

STEPS = 10_000

_BLOCKS = 10
"""Backends take turns in so many blocks, so that a disturbance of the machine does not fall on one alone."""

_WARM_UP_STEPS = 100
"""Steps before each block that count for nothing: the caches are another backend's."""


Step = Callable[[], object]
"""Makes the next step of a stream."""


@runtime_checkable
class StreamCandidate(Protocol):
    """A candidate with a way of its own to step, as a service would use it."""

    def prepare_stream(self, feeds: Mapping[str, Array]) -> Step:
        """A stream that starts from `feeds` of one time step; each call is a step, the state carried from the last."""


@dataclass(frozen=True, kw_only=True)
class _Stream:
    """One backend's stream, and the times of its steps in ms so far."""

    backend: str
    measure: Measure
    times: list[float] = field(default_factory=list)


def why_no_stream(contract: Contract) -> str:
    """Why a model has no single next step; empty where it has one."""
    bare = contract.bare
    if bare is None:
        if contract.streaming.kind in ("exact", "delayed"):
            return why_no_next_step(contract)
        return f"the model cannot stream: {contract.streaming.reason}"
    if bare.form == "encoder" and bare.directions == 2:
        return "a bidirectional encoder cannot stream: its backward half starts at the last time step"
    if bare.form == "unrolled" and bare.steps != 1:
        return f"{bare.steps} unrolled steps cannot stream: export the decoder in form step"
    if not bare.state_inputs:
        return "a model without state inputs cannot stream: nothing carries from step to step"
    return ""


def measure_jitter(
    candidates: Sequence[Candidate],
    inputs: CaseSource,
    *,
    frame_ms: float,
    steps: int = STEPS,
    seconds: float = math.inf,
    listener: ProgressListener,
    clock: Clock = perf_counter_ns,
) -> list[JitterRow]:
    """Time each of `steps` single steps at batch 1 by itself, against a deadline of `frame_ms`.

    A step's time includes handing its arrays over and taking the state back, as a service does. A backend whose steps
    take longer than `seconds` together takes fewer of them.

    Raises:
        BackendError: a backend failed.
    """
    contract = inputs.contract
    feeds = timing_feeds(inputs, single_step(inputs))
    streams = [
        _Stream(backend=one.name, measure=host_timed(stepping(one, feeds, contract), clock)) for one in candidates
    ]
    with stage(listener, "streaming", _BLOCKS) as part_done, undisturbed():
        for block in range(_BLOCKS):
            for stream in streams:
                count = steps * (block + 1) // _BLOCKS - steps * block // _BLOCKS
                share_ms = seconds * 1000 / _BLOCKS
                for _ in _within(share_ms * _WARM_UP_STEPS / max(count, _WARM_UP_STEPS), _WARM_UP_STEPS, stream):
                    pass
                stream.times.extend(_within(share_ms, count, stream))
            part_done()
    return [_row(stream, frame_ms) for stream in streams]


def _within(share_ms: float, count: int, stream: _Stream) -> Iterator[float]:
    """The times of `count` steps, or of as many as take `share_ms`, at least one."""
    spent_ms = 0.0
    for _ in range(count):
        yield (own := stream.measure())
        spent_ms += own
        if spent_ms > share_ms:
            return


def single_step(inputs: CaseSource) -> dict[str, int]:
    """The sizes of one step of one stream."""
    free = inputs.contract.free_dims
    own = {} if inputs.contract.bare else inputs.sizes
    time = {"T": 1} if inputs.contract.bare or time_of(inputs.contract) else {}
    return {dim: size for dim, size in {**own, "B": 1, **time}.items() if dim in free}


def stepping(candidate: Candidate, feeds: Mapping[str, Array], contract: Contract) -> Step:
    """The candidate's own stream, or one through `outputs`."""
    if isinstance(candidate, StreamCandidate):
        return candidate.prepare_stream(feeds)
    return functools.partial(_step, candidate, dict(feeds), contract)


def _step(candidate: Candidate, feeds: dict[str, Array], contract: Contract) -> None:
    """One step; `feeds` is changed to the next step's."""
    values = candidate.outputs(Case(name="step", feeds=feeds))
    feeds.update({pair.input: values[pair.output] for pair in contract.states})


def _row(stream: _Stream, frame_ms: float) -> JitterRow:
    times = np.array(stream.times)
    p50, p99, p999 = (float(value) for value in np.quantile(times, (0.5, 0.99, 0.999)))
    return JitterRow(
        backend=stream.backend,
        frame_ms=frame_ms,
        steps=times.size,
        p50_ms=p50,
        p99_ms=p99,
        p999_ms=p999,
        longest_ms=float(times.max()),
        longest_at_step=int(times.argmax()),
        misses=int((times > frame_ms).sum()),
    )
