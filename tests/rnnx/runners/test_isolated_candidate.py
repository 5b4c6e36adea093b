import contextlib
import os
import re
import signal
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnx.errors import RowDiedError
from rnnx.runners.isolated_candidate import MOST_DEATHS, IsolatedCandidate
from rnnx.truths.cases import Case
from rnnx_runtime import BackendError, BackendUnavailable

X = np.arange(6, dtype=np.float32).reshape(3, 2)


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of candidates that die, found by this process and by the row's."""
    folder = str(Path(__file__).parent)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")])))
    return import_module("dying_candidates")


@pytest.fixture
def candidate(dying: Any) -> Iterator[IsolatedCandidate]:
    with contextlib.closing(IsolatedCandidate(dying.open_dying, timeout_s=20)) as opened:
        yield opened


def _case(name: str) -> Case:
    return Case(name=name, feeds={"x": X})


def _is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]


def test_a_case_runs_in_another_process(candidate: IsolatedCandidate) -> None:
    assert (candidate.name, candidate.device) == ("ort-cpu", "CPU")
    np.testing.assert_array_equal(candidate.outputs(_case("plain"))["output"], X)
    assert candidate.outputs(_case("pid"))["pid"] != os.getpid()


def test_a_crash_is_an_error_that_names_the_signal_and_the_next_case_runs(candidate: IsolatedCandidate) -> None:
    with pytest.raises(RowDiedError, match="died of SIGSEGV"):
        candidate.outputs(_case("crash"))
    np.testing.assert_array_equal(candidate.outputs(_case("plain"))["output"], X)


def test_an_exit_is_an_error_with_the_last_line_it_printed(candidate: IsolatedCandidate) -> None:
    with pytest.raises(BackendError, match=re.escape("ended with exit code 7 (a last line)")):
        candidate.outputs(_case("exit"))


def test_a_hang_is_an_error_after_the_time_limit_and_leaves_no_process(dying: Any) -> None:
    candidate = IsolatedCandidate(dying.open_dying, timeout_s=20)
    pid = int(candidate.outputs(_case("pid"))["pid"])
    candidate._timeout_s = 0.2
    with contextlib.closing(candidate):
        with pytest.raises(BackendError, match=re.escape("no answer within 0.2 s")):
            candidate.outputs(_case("hang"))
        assert not _is_alive(pid)


def test_a_backend_that_keeps_dying_is_given_up(candidate: IsolatedCandidate) -> None:
    for _ in range(MOST_DEATHS):
        with pytest.raises(BackendError, match="SIGSEGV"):
            candidate.outputs(_case("crash"))
    start = time.monotonic()
    with pytest.raises(BackendError, match=f"its process died {MOST_DEATHS} times before"):
        candidate.outputs(_case("plain"))
    assert time.monotonic() - start < 0.1  # no process was started


def test_a_refusal_crosses_over_as_it_is(candidate: IsolatedCandidate) -> None:
    with pytest.raises(BackendError) as raised:
        candidate.outputs(_case("refuse"))
    assert (raised.value.got, raised.value.remedy) == ("a refusal", "none")


def test_a_defect_keeps_its_traceback(candidate: IsolatedCandidate) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)in the process of ort-cpu:.*dying_candidates.py.*KeyError: 'a name"):
        candidate.outputs(_case("defect"))


def test_a_lack_of_memory_is_an_error_and_the_next_case_runs(candidate: IsolatedCandidate) -> None:
    with pytest.raises(BackendError, match="8 TiB"):
        candidate.outputs(_case("memory"))
    np.testing.assert_array_equal(candidate.outputs(_case("plain"))["output"], X)


def test_what_a_library_prints_does_not_mix_with_the_answers(candidate: IsolatedCandidate) -> None:
    np.testing.assert_array_equal(candidate.outputs(_case("print"))["output"], X)


def test_a_backend_that_is_not_here_says_so(dying: Any) -> None:
    with pytest.raises(BackendUnavailable, match="got no GPU"):
        IsolatedCandidate(dying.open_nothing, timeout_s=20)


def test_dying_while_opening_is_an_error(dying: Any) -> None:
    with pytest.raises(RowDiedError, match="died of SIGKILL"):
        IsolatedCandidate(dying.die_while_opening, timeout_s=20)


def test_closing_ends_the_process_and_closing_twice_is_harmless(dying: Any) -> None:
    candidate = IsolatedCandidate(dying.open_dying, timeout_s=20)
    pid = int(candidate.outputs(_case("pid"))["pid"])
    candidate.close()
    candidate.close()
    assert not _is_alive(pid)


def test_a_prepared_call_gives_the_outputs(candidate: IsolatedCandidate) -> None:
    call = candidate.prepare({"x": X})
    assert list(call()) == ["output"]  # type: ignore[call-overload]


def test_a_process_that_does_not_read_is_no_answer_either(dying: Any) -> None:
    """More than a pipe holds: writing to a process that sleeps must not wait for it."""
    with contextlib.closing(IsolatedCandidate(dying.open_dying, timeout_s=20)) as candidate:
        pid = int(candidate.outputs(_case("pid"))["pid"])
        os.kill(pid, signal.SIGSTOP)
        candidate._timeout_s = 0.3
        with pytest.raises(RowDiedError, match="no answer within"):
            candidate.outputs(Case(name="large", feeds={"x": np.zeros(1_000_000, np.float32)}))
        assert candidate.deaths == 1
