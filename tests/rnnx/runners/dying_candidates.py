"""Candidates that die, hang or speak out of turn, importable by the process that runs them."""

import os
import signal
import time
from collections.abc import Callable, Mapping

import numpy as np

from rnnx.truths.cases import Case
from rnnx_runtime.array_type import Array
from rnnx_runtime.errors import BackendError, BackendUnavailable


class DyingCandidate:
    """Does to itself what a case's name says, and answers any other case with its `x`."""

    name = "ort-cpu"
    device = "CPU"

    def outputs(self, case: Case) -> dict[str, Array]:
        match case.name:
            case "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "exit":
                os.write(2, b"a last line\n")
                os._exit(7)
            case "hang":
                time.sleep(60)
            case "refuse":
                raise BackendError("case", got="a refusal", expected="a result", remedy="none")
            case "defect":
                raise KeyError("a name that nobody gave")
            case "memory":
                raise MemoryError("8 TiB")
            case "print":
                os.write(1, b"noise of a native library\n")
            case "pid":
                return {"pid": np.array(os.getpid())}
        return {"output": case.feeds["x"]}

    def prepare(self, feeds: Mapping[str, Array]) -> Callable[[], object]:
        return lambda: feeds

    def close(self) -> None: ...


def open_dying() -> DyingCandidate:
    return DyingCandidate()


def open_nothing() -> DyingCandidate:
    raise BackendUnavailable("backend ort-cuda", got="no GPU", expected="one", remedy="use another host")


def die_while_opening() -> DyingCandidate:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")
