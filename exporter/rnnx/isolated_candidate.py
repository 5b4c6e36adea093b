"""A candidate that runs in a process of its own, so that a crash or a hang is one failed case and not the end."""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from queue import Empty, Queue
from threading import Thread
from typing import Any

from rnnx.cases import Array, Case
from rnnx.errors import RowDiedError
from rnnx.row_process import Opener
from rnnx_runtime.errors import RnnxError

MOST_DEATHS = 3
"""Deaths of a row's process after which the row's other cases are not tried any more."""


class IsolatedCandidate:
    """A `Candidate` behind a process, which is started again after it died, `MOST_DEATHS` times at most.

    `busy_s` is how long the backend itself was at work, opening and answering.
    """

    def __init__(self, opener: Opener, timeout_s: float) -> None:
        """Start the process and open the candidate in it.

        Args:
            opener: makes the candidate; it is pickled.
            timeout_s: how long the opening, and each case, may take.

        Raises:
            BackendUnavailable, BackendError: as the opener.
            RowDiedError: the process died or did not answer.
        """
        self._opener = opener
        self._timeout_s = timeout_s
        self._deaths = 0
        self.busy_s = 0.0
        self._process: _RowProcess | None = None
        self.name, self.device = "", ""
        self._open()

    def outputs(self, case: Case) -> dict[str, Array]:
        """The contract's outputs of one case.

        Raises:
            BackendError: the backend failed.
            RowDiedError: its process died, or gave no answer in time.
        """
        if self._deaths >= MOST_DEATHS:
            raise RowDiedError(
                f"backend {self.name}",
                got=f"no run: its process died {self._deaths} times before",
                expected="a backend that lives",
                remedy="the first message says how it died",
            )
        if self._process is None:
            self._open()
        values: dict[str, Array] = self._ask(case)
        return values

    def prepare(self, feeds: Mapping[str, Array]) -> Callable[[], object]:
        """One call through the process; it is not what a latency is measured with, for the pipe is in it."""
        case = Case(name="prepared", feeds=feeds)
        return lambda: self.outputs(case)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.end()
            self._process = None

    def _open(self) -> None:
        self._process = _RowProcess()
        try:
            self.name, self.device = self._ask(self._opener)
        except BaseException:
            self.close()
            raise

    def _ask(self, request: Any) -> Any:
        assert self._process is not None
        try:
            answer, seconds = self._process.answer(request, self._timeout_s)
        except (TimeoutError, EOFError, BrokenPipeError) as error:
            self._deaths += 1
            got = self._process.last_words(error, self._timeout_s)
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


class _RowProcess:
    """The process, and a thread that waits for its answers."""

    def __init__(self) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        command = [sys.executable, "-P", "-m", "rnnx.row_process"]  # -P: never a module of the caller's folder
        pipe = subprocess.PIPE
        # NumPy is the backend of a parsed network: its products are too small for more than one thread.
        one_thread = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=self._said, env=os.environ | one_thread
        )
        self._answers: Queue[Any] = Queue()
        Thread(target=self._collect, name="rnnx row", daemon=True).start()

    def answer(self, request: Any, timeout_s: float) -> Any:
        """Raises TimeoutError without an answer in time, EOFError or BrokenPipeError where the process has died."""
        assert self._process.stdin is not None
        pickle.dump(request, self._process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
        self._process.stdin.flush()
        try:
            answer = self._answers.get(timeout=timeout_s)
        except Empty:
            raise TimeoutError from None
        if isinstance(answer, EOFError):
            raise answer
        return answer

    def last_words(self, error: Exception, timeout_s: float) -> str:
        """How the process ended, and the last line it printed."""
        how = f"no answer within {timeout_s:g} s" if isinstance(error, TimeoutError) else _ending(self._process.wait())
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return how + (f" ({last})" if last else "")

    def end(self) -> None:
        """Kill the process and close its pipes."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._said):
            with contextlib.suppress(BrokenPipeError):
                if stream is not None:
                    stream.close()

    def _collect(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        try:
            while True:
                self._answers.put(pickle.load(stream))
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):  # it died, or was ended while this thread read
            self._answers.put(EOFError())


def _ending(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"a process that died of {signal.Signals(-code).name}"
    return f"a process that ended with exit code {code}"
