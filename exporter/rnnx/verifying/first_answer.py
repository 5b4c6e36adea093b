"""Whether a file comes to an end at all: a Loop can be told to turn 2⁶² times, in a file of a thousand bytes."""

from collections.abc import Sequence

from rnnx.runners.isolated_candidate import IsolatedCandidate
from rnnx.runners.subject import Subject
from rnnx.tensorrt_network.network_row import NETWORK_ROW
from rnnx.truths.truth import CaseTruth
from rnnx_runtime.errors import FileDamagedError

FIRST_ANSWER_S = 5.0
"""Seconds for the smallest case, which takes milliseconds."""

_BYTES_A_SECOND = 2**25
"""How fast a case goes through a file's weights on a slow host."""

_ROWS = ("ort-cpu", NETWORK_ROW)
"""Those whose first call makes nothing ready, as a GPU's does."""


def refuse_endless(subject: Subject, row: str, candidate: object, cases: Sequence[CaseTruth]) -> None:
    """Ask a row for the smallest case before all others; a row that died of it is told with its cases.

    Raises:
        FileDamagedError: no answer within some seconds.
    """
    if row not in _ROWS or not isinstance(candidate, IsolatedCandidate):
        return
    smallest = min(cases, key=lambda own: sum(feed.size for feed in own.case.feeds.values())).case
    seconds = FIRST_ANSWER_S + len(subject.model.data) // _BYTES_A_SECOND
    if not candidate.ends_within(smallest, seconds):
        raise FileDamagedError(
            str(subject.model.path),
            got=f"no answer of {row} to the case {smallest.name!r} within {seconds:g} s",
            expected="a graph that comes to an end",
            remedy="give it more time with --case-timeout-s 300 (case_timeout_s)",
        )
