"""A candidate that runs in a process of its own, so that a crash or a hang is one failed case and not the end."""

from collections.abc import Callable, Mapping
from typing import Any

from rnnx.errors import RowDiedError
from rnnx.runners.row_channel import NO_ANSWER, RowChannel
from rnnx.runners.row_process import Opener
from rnnx.truths.cases import Case
from rnnx_runtime.array_type import Array
from rnnx_runtime.errors import BackendError, RnnxError

MOST_DEATHS = 3
"""Deaths of a row's process after which the row's other cases are not tried any more."""


class IsolatedCandidate:
    """A `Candidate` behind a process, which is started again after it died, `MOST_DEATHS` times at most.

    `busy_s` is how long the backend itself was at work, opening and answering; `deaths` how often its process died or
    gave no answer.
    """

    def __init__(self, opener: Opener, timeout_s: float, channel: RowChannel | None = None) -> None:
        """Open the candidate in a process.

        Args:
            opener: makes the candidate; it is pickled.
            timeout_s: how long the opening, and each case, may take.
            channel: to a process that was started before and that is this candidate's from now on.

        Raises:
            BackendUnavailable, BackendError: as the opener.
            RowDiedError: the process died or did not answer.
        """
        self._opener = opener
        self._timeout_s = timeout_s
        self.deaths = 0
        self.busy_s = 0.0
        self._channel: RowChannel | None = None
        self.name, self.device = "", ""
        self._open(channel or RowChannel())

    def outputs(self, case: Case) -> dict[str, Array]:
        """The contract's outputs of one case.

        Raises:
            BackendError: the backend failed.
            RowDiedError: its process died, or gave no answer in time.
        """
        if self.deaths >= MOST_DEATHS:
            raise RowDiedError(
                f"backend {self.name}",
                got=f"no run: its process died {self.deaths} times before",
                expected="a backend that lives",
                remedy="the first message says how it died",
            )
        if self._channel is None:
            self._open(RowChannel())
        values: dict[str, Array] = self._ask(case)
        return values

    def ends_within(self, case: Case, seconds: float) -> bool:
        """Whether the backend gives an answer to a case in time, be it that it failed or died; nothing is kept."""
        deaths = self.deaths
        try:
            self._ask(case, seconds)
        except RowDiedError as error:
            is_late = error.got.startswith(NO_ANSWER)
            self.deaths = deaths
            return not is_late
        except BackendError:
            pass
        return True

    def prepare(self, feeds: Mapping[str, Array]) -> Callable[[], object]:
        """One call through the process; it is not what a latency is measured with, for the pipe is in it."""
        case = Case(name="prepared", feeds=feeds)
        return lambda: self.outputs(case)

    def close(self) -> None:
        """End the process."""
        if self._channel is not None:
            self._channel.end()
            self._channel = None

    def _open(self, channel: RowChannel) -> None:
        self._channel = channel
        try:
            self.name, self.device = self._ask(self._opener)
        except BaseException:
            self.close()
            raise

    def _ask(self, request: Any, timeout_s: float | None = None) -> Any:
        assert self._channel is not None
        timeout_s = timeout_s or self._timeout_s
        try:
            answer, seconds = self._channel.answer(request, timeout_s)
        except (TimeoutError, EOFError, BrokenPipeError) as error:
            self.deaths += 1
            got = self._channel.last_words(error, timeout_s)
            self.close()
            raise RowDiedError(
                f"backend {self.name}".rstrip(), got=got, expected="an answer", remedy="run this case alone to see more"
            ) from None
        self.busy_s += seconds
        if isinstance(answer, RnnxError):
            raise answer
        if isinstance(answer, RuntimeError):
            raise RuntimeError(f"in the process of {self.name or 'a row'}:\n{answer}")
        return answer
