import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.contracts import contract_of

from rnnx.parity.limits import limit_of
from rnnx.parity.parity import ParityReport, ParityRow, compare
from rnnx.parity.tolerances import TOLERANCES
from rnnx.truths.cases import Case, case_at
from rnnx.truths.truth import CaseTruth
from rnnx_runtime import BackendError
from rnnx_runtime.contract import Source

Array = NDArray[Any]
FLOAT32_ERROR = 1e-6
LIMIT = TOLERANCES["float32"].ratio * FLOAT32_ERROR

CONTRACT = contract_of(
    form="encoder",
    cell="gru",
    input_size=2,
    hidden_size=3,
    projection_size=3,
    layers=1,
    directions=1,
    steps=None,
    batch_first=False,
    state_inputs=True,
    lengths=False,
    precision="float32",
    formulation="test",
    source=Source(file="", module="", weights_sha256=""),
)


def _golden(time: int, batch: int) -> CaseTruth:
    truth = {"output": np.full((time, batch, 3), 0.5), "hn": np.full((1, batch, 3), 0.5)}
    return CaseTruth(
        case=case_at(CONTRACT.layer(), time, batch), truth=truth, float32_error=dict.fromkeys(truth, FLOAT32_ERROR)
    )


TRUTH = [_golden(1, 1), _golden(2, 2), _golden(5, 3)]


class FakeCandidate:
    """Gives the truth in float32, changed by a function of the case's name and the output's name."""

    name = "ort-cpu"
    device = "fake"

    def __init__(self, change: Callable[[str, str, Array], Array] = lambda case, output, value: value) -> None:
        self._change = change
        self.truths = {golden.case.name: golden.truth for golden in TRUTH}

    def outputs(self, case: Case) -> dict[str, Array]:
        truth = self.truths[case.name]
        return {name: self._change(case.name, name, value.astype(np.float32)) for name, value in truth.items()}

    def prepare(self, feeds: Mapping[str, Array]) -> Callable[[], object]:
        raise NotImplementedError

    def close(self) -> None: ...


def _row(change: Callable[[str, str, Array], Array]) -> ParityRow:
    return compare(FakeCandidate(change), TRUTH, CONTRACT, "float32")


def _in_last_case(corrupt: Callable[[Array], Array]) -> Callable[[str, str, Array], Array]:
    return lambda case, output, value: corrupt(value) if (case, output) == ("T5 B3", "hn") else value


def _with_first(number: float) -> Callable[[Array], Array]:
    def corrupt(value: Array) -> Array:
        value = value.copy()
        value.flat[0] = number
        return value

    return corrupt


def test_the_truth_itself_has_no_error() -> None:
    row = _row(lambda case, output, value: value)
    assert row.status == "pass"
    assert row.cases == 3
    assert [(o.output, o.max_error, o.mean_error, o.ratio) for o in row.outputs] == [
        ("output", 0, 0, 0),
        ("hn", 0, 0, 0),
    ]


def test_max_mean_and_worst_case_are_over_all_cases() -> None:
    output, hn = _row(_in_last_case(_with_first(0.75))).outputs
    assert output.max_error == 0
    assert hn.max_error == 0.25
    assert hn.mean_error == pytest.approx(0.25 / 18)
    assert 0 < hn.p99_error < 0.25
    assert hn.max_relative_error == pytest.approx(0.5)
    assert 0.9 < hn.cosine < 1
    assert hn.worst_case == "T5 B3"
    assert hn.ratio == pytest.approx(0.25 / FLOAT32_ERROR)


def test_every_output_of_every_case_is_judged_by_itself() -> None:
    row = _row(_in_last_case(_with_first(0.75)))
    assert [(result.case, result.output) for result in row.failures] == [("T5 B3", "hn")]
    assert len(row.results) == 6
    assert row.failures[0].ratio == pytest.approx(0.25 / FLOAT32_ERROR)


def test_the_worst_case_is_the_one_furthest_beyond_its_own_limit() -> None:
    """A longer case may be further off and yet within what its time allows."""
    long = _golden(400, 1)
    allowed = limit_of(long, "hn", CONTRACT, "float32")
    errors = {"T1 B1": 0.9 * LIMIT, "T400 B1": 0.5 * allowed}
    assert errors["T400 B1"] > errors["T1 B1"]
    candidate = FakeCandidate(lambda case, output, value: value + np.float32(errors.get(case, 0)))
    candidate.truths[long.case.name] = long.truth
    row = compare(candidate, [TRUTH[0], long], CONTRACT, "float32")
    assert row.outputs[1].worst_case == "T1 B1"
    assert row.outputs[1].max_error == pytest.approx(errors["T400 B1"], rel=0.02)


def test_a_case_that_the_backend_fails_on_is_one_failure_and_the_rest_runs() -> None:
    def fails_once(case: str, output: str, value: Array) -> Array:
        if case == "T2 B2":
            raise BackendError("run", got="no memory", expected="a result", remedy="use a smaller batch")
        return value

    done: list[str] = []
    row = compare(FakeCandidate(fails_once), TRUTH, CONTRACT, "float32", on_case=lambda: done.append("case"))
    assert row.status == "fail"
    assert row.reason == "case T2 B2: run: got no memory, expected a result; use a smaller batch"
    assert [(failure.case, failure.output) for failure in row.failures] == [("T2 B2", "output"), ("T2 B2", "hn")]
    assert len(done) == 3


def test_a_failure_of_several_cases_is_told_once() -> None:
    row = _row(lambda case, output, value: value * np.float32(np.nan))
    assert row.reason == "case T1 B1: 3 of 3 values are NaN or Inf (and 2 more cases)"


def test_only_the_outputs_that_are_given_are_compared() -> None:
    row = compare(FakeCandidate(), TRUTH, CONTRACT, "float32", outputs=CONTRACT.outputs[1:])
    assert [output.output for output in row.outputs] == ["hn"]


def test_an_output_that_is_missing_is_a_failure() -> None:
    candidate = FakeCandidate()
    candidate.truths = {name: {"hn": truth["hn"]} for name, truth in candidate.truths.items()}
    row = compare(candidate, TRUTH, CONTRACT, "float32")
    assert row.status == "fail"
    assert row.reason.startswith("output of case T1 B1: no such output")


@pytest.mark.parametrize(("error", "status"), [(0.9 * LIMIT, "pass"), (1.1 * LIMIT, "fail")], ids=["below", "above"])
def test_the_verdict_turns_at_the_limit(error: float, status: str) -> None:
    row = _row(_in_last_case(_with_first(0.5 + error)))
    assert row.status == status
    assert row.outputs[1].limit == pytest.approx(LIMIT)


NO_RESULTS: dict[str, tuple[Callable[[Array], Array], str]] = {
    "nan": (_with_first(np.nan), "1 of 9 values are NaN or Inf"),
    "inf": (_with_first(np.inf), "1 of 9 values are NaN or Inf"),
    "shape": (lambda value: value[0], r"got float32 \(3, 3\), expected float32 \(1, 3, 3\)"),
    "dtype": (lambda value: value.astype(np.float64), r"got float64 \(1, 3, 3\), expected float32"),
}


@pytest.mark.parametrize(("corrupt", "message"), NO_RESULTS.values(), ids=NO_RESULTS)
def test_what_is_no_result_fails_whatever_the_tolerance(corrupt: Callable[[Array], Array], message: str) -> None:
    row = compare(FakeCandidate(_in_last_case(corrupt)), TRUTH, CONTRACT, "tf32")
    assert row.status == "fail"
    assert re.fullmatch(f"hn of case T5 B3: {message}.*", row.reason)
    assert np.isinf(row.outputs[1].max_error)


def test_ratio_is_none_where_float32_made_no_error() -> None:
    exact = [
        CaseTruth(case=golden.case, truth=golden.truth, float32_error={"output": 0.0, "hn": 0.0}) for golden in TRUTH
    ]
    row = compare(FakeCandidate(), exact, CONTRACT, "float32")
    assert row.status == "pass"
    assert row.outputs[0].ratio is None


def _row_of(backend: str, status: Any) -> ParityRow:
    return ParityRow(backend=backend, status=status)


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([("pytorch-cpu", "pass"), ("ort-cpu", "pass"), ("ort-cuda", "skip")], True),
        ([("ort-cpu", "pass"), ("tensorrt", "fail")], False),
        ([("ort-cpu", "skip"), ("ort-cuda", "skip")], False),
        ([("pytorch-cpu", "pass"), ("ort-cpu", "skip")], False),
        ([("tensorrt-network", "pass"), ("ort-cpu", "skip")], False),
        ([], False),
    ],
    ids=[
        "skip-is-no-failure",
        "one-failure",
        "nothing-ran",
        "only-pytorch-ran",
        "only-the-parsed-network-ran",
        "empty",
    ],
)
def test_the_reports_verdict(rows: list[tuple[str, str]], verdict: bool) -> None:
    assert bool(ParityReport(rows=tuple(_row_of(*row) for row in rows))) is verdict
