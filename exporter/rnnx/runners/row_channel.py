"""A started process of `rnnx.runners.row_process`, and the pipe to it."""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from queue import Empty, Queue
from threading import Thread
from typing import Any

NO_ANSWER = "no answer within"
"""How the words begin for a process that did not come to an end."""

_END = object()
"""The request after the last one."""


class RowChannel:
    """The process, and threads that hand it requests and wait for its answers; `end` must be called."""

    def __init__(self) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        command = [sys.executable, "-P", "-m", "rnnx.runners.row_process"]  # -P: never a module of the caller's folder
        pipe = subprocess.PIPE
        # NumPy is the backend of a parsed network: its products are too small for more than one thread.
        one_thread = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=self._said, env=os.environ | one_thread
        )
        self._requests: Queue[Any] = Queue()
        self._answers: Queue[Any] = Queue()
        for work in (self._hand_over, self._collect):
            Thread(target=work, name="rnnx row", daemon=True).start()

    def answer(self, request: Any, timeout_s: float) -> Any:
        """Raises TimeoutError without an answer in time, EOFError or BrokenPipeError where the process has died."""
        # Written by another thread: a process that does not read would block this one for ever.
        self._requests.put(request)
        try:
            answer = self._answers.get(timeout=timeout_s)
        except Empty:
            raise TimeoutError from None
        if isinstance(answer, EOFError):
            raise answer
        return answer

    def _hand_over(self) -> None:
        stream = self._process.stdin
        assert stream is not None
        while (request := self._requests.get()) is not _END:
            with contextlib.suppress(OSError, ValueError):  # it died, or was ended meanwhile: the other thread tells
                pickle.dump(request, stream, protocol=pickle.HIGHEST_PROTOCOL)
                stream.flush()

    def last_words(self, error: Exception, timeout_s: float) -> str:
        """How the process ended, and the last line it printed."""
        how = f"{NO_ANSWER} {timeout_s:g} s" if isinstance(error, TimeoutError) else _ending(self._process.wait())
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return how + (f" ({last})" if last else "")

    def end(self) -> None:
        """Kill the process and close its pipes; ending twice is harmless."""
        self._requests.put(_END)
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._said):
            with contextlib.suppress(OSError, ValueError):
                if stream is not None:
                    stream.close()

    def _collect(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        try:
            while True:
                self._answers.put(pickle.load(stream))
        except Exception:  # it died, was ended while this thread read, or what it wrote is no answer
            self._answers.put(EOFError())


def _ending(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"a process that died of {signal.Signals(-code).name}"
    return f"a process that ended with exit code {code}"
