import re
from typing import Any

import numpy as np
import pytest

from rnnx.checks.probe import Uncovered
from rnnx.truths.cases import Case, case_at
from rnnx_runtime import BackendError


def _with(name: str, change: Any) -> Any:
    return lambda run, case: {**run(case), name: change(run(case)[name])}


def _nan(value: Any) -> Any:
    value = value.copy()
    value[..., 2, 0] = np.nan
    return value


NO_RESULTS = {
    "nan": (_with("hn", _nan), r"hn of T4 B3: got 1 of 24 values are NaN or Inf, expected finite float32 \(1, 3, 8\);"),
    "shape": (
        _with("cn", lambda value: value[0]),
        r"cn of T4 B3: got float32 \(3, 8\), expected finite float32 \(1, 3, 8\);",
    ),
    "dtype": (
        _with("hn", lambda value: value.astype(np.float64)),
        r"hn of T4 B3: got float64 \(1, 3, 8\), expected finite float32 \(1, 3, 8\);",
    ),
    "absent": (lambda run, case: {"output": run(case)["output"]}, r"hn of T4 B3: got no such output"),
}


@pytest.mark.parametrize(("change", "message"), NO_RESULTS.values(), ids=NO_RESULTS)
def test_what_is_no_result_is_an_error(lstm: Any, change: Any, message: str) -> None:
    with pytest.raises(BackendError, match=message):
        lstm.probe(change).run(case_at(lstm.contract, 4, 3))


def test_rows_that_are_not_asked_for_may_be_anything(lstm: Any) -> None:
    case = case_at(lstm.contract, 4, 3)
    values = lstm.probe(_with("hn", _nan)).run(case, [1, 0])
    whole = lstm.run(case)
    assert np.array_equal(values["hn"], whole["hn"][:, [1, 0]])
    assert np.array_equal(values["output"], whole["output"][:, [1, 0]])


def test_only_the_outputs_that_a_file_gives_are_asked_for(lstm: Any) -> None:
    some = [spec for spec in lstm.contract.outputs if spec.name == "hn"]
    probe = lstm.probe(lambda run, case: {"hn": run(case)["hn"]}, outputs=some)
    assert probe.run(case_at(lstm.contract, 4, 3)).keys() == {"hn"}


def test_sizes_that_no_profile_takes_do_not_reach_the_candidate(lstm: Any) -> None:
    probe = lstm.probe(covers=lambda sizes: sizes["T"] > 4)
    with pytest.raises(Uncovered, match=re.escape("no profile of the engine takes T=4, B=3")):
        probe.run(case_at(lstm.contract, 4, 3))
    assert not probe.candidate.calls


def test_what_the_candidate_raises_is_passed_on(lstm: Any) -> None:
    def fail(run: Any, case: Case) -> Any:
        raise BackendError("engine", got="a fault", expected="a result", remedy="restart")

    with pytest.raises(BackendError, match="engine: got a fault"):
        lstm.probe(fail).run(case_at(lstm.contract, 4, 3))
