import numpy as np
import pytest
from tests.rnnx.diagnosis.conftest import FakeBackend, model

from rnnx.diagnosis.prober import Prober
from rnnx.diagnosis.simulation import simulate
from rnnx.truths.cases import random_feeds

MADE = model("lstm", 1, 2, batch_first=True, lengths=True)


def _prober(backend: FakeBackend, batch: int) -> Prober:
    return Prober(backend, MADE.contract, MADE.contract.outputs, batch)


def test_rows_beyond_what_the_backend_takes_are_asked_in_parts() -> None:
    # x is (B, T, I), so the fake's limit is on T: a backend of most_rows counts the last axis but one
    made = model("lstm", 1, 2, lengths=True)
    backend = FakeBackend(made.compute(), most_rows=3)
    feeds = random_feeds(made.contract, 2, 8, 0)
    answer = Prober(backend, made.contract, made.contract.outputs, 3).ask_rows(feeds)
    assert [shape[1] for shape in backend.calls] == [8, 3, 3, 3]
    for name, value in simulate(made.stack, made.contract, feeds).items():
        np.testing.assert_allclose(answer.values[name], value, atol=1e-6)


def test_a_backend_that_takes_them_is_asked_once() -> None:
    backend = FakeBackend(MADE.compute())
    assert _prober(backend, 3).ask_rows(random_feeds(MADE.contract, 2, 8, 0))
    assert len(backend.calls) == 1


def test_a_failure_is_what_the_backend_said() -> None:
    backend = FakeBackend(model("lstm").compute(), most_rows=1)
    made = model("lstm")
    answer = Prober(backend, made.contract, made.contract.outputs, 2).ask_rows(random_feeds(made.contract, 2, 4, 0))
    assert not answer
    assert "got batch 4, expected fewer rows" in answer.failure or "got batch 2" in answer.failure


@pytest.mark.parametrize(
    ("change", "failure"),
    [(lambda values: {"hn": values["hn"]}, "no output"), (lambda values: {**values, "hn": values["hn"][:1]}, "hn is")],
    ids=["missing", "shape"],
)
def test_results_that_are_none_are_failures(change: object, failure: str) -> None:
    compute = MADE.compute()
    backend = FakeBackend(lambda feeds: change(compute(feeds)))  # type: ignore[operator]
    assert failure in _prober(backend, 8).ask_rows(random_feeds(MADE.contract, 2, 4, 0)).failure


def test_whatever_a_backend_raises_is_evidence() -> None:
    def compute(feeds: object) -> dict[str, np.ndarray]:
        raise ZeroDivisionError

    assert _prober(FakeBackend(compute), 8).ask(random_feeds(MADE.contract, 2, 4, 0)).failure == "ZeroDivisionError"
