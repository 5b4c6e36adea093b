"""A process of its own for one row: a backend that crashes or hangs takes this process with it, and no other.

It reads pickled requests from its standard input and writes pickled answers to what was its standard output, each with
the seconds that the backend took. The other end is `rnnx.runners.isolated_candidate`, which started it and is the only
one that can write to it.
"""

import os
import pickle
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from rnnx.runners.candidates import Candidate
from rnnx.truths.cases import Case
from rnnx_runtime.errors import BackendError, RnnxError

Opener = Callable[[], Candidate]


def main() -> None:
    """Answer requests until the other end closes."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a native library prints must not mix with the answers
    candidate: Candidate | None = None
    while True:
        try:
            request: Opener | Case = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        start = time.perf_counter()
        try:
            if isinstance(request, Case):
                if candidate is None:
                    raise AssertionError("a case before the candidate was opened")
                answer: Any = candidate.outputs(request)
            else:
                candidate = request()
                answer = (candidate.name, candidate.device)
        except RnnxError as error:
            answer = error
        except MemoryError as error:
            answer = BackendError("case", got=repr(error), expected="enough memory", remedy="use smaller sizes")
        except Exception:  # a defect of rnnx, which the other end shows as one
            answer = RuntimeError(traceback.format_exc())  # its own class may not survive the way
        pickle.dump((answer, time.perf_counter() - start), answers, protocol=pickle.HIGHEST_PROTOCOL)
        answers.flush()


if __name__ == "__main__":
    main()
