from dataclasses import replace

import numpy as np
import pytest
from tests.rnnx.diagnosis.conftest import FakeBackend, Model, model

from rnnx.diagnosis.prober import Prober
from rnnx.diagnosis.simulation import Fault
from rnnx.diagnosis.single_steps import observe_steps, rounding_limits

MODELS = {
    "lstm-2-bi": model("lstm", 2, 2, lengths=True),
    "gru-2-batch-first": model("gru", 2, batch_first=True),
    "lstm-zero-start": model("lstm", 2, state_inputs=False),
    "gru-bi-zero-start": model("gru", 1, 2, state_inputs=False),
    "lstm-step": model("lstm", form="step"),
    "lstm-unrolled": model("lstm", form="unrolled"),
    "gru-unrolled": model("gru", form="unrolled"),
}


def _prober(made: Model, fault: Fault | None = None) -> Prober:
    return Prober(FakeBackend(made.compute(fault or Fault())), made.contract, made.contract.outputs, 4)


@pytest.mark.parametrize("made", MODELS.values(), ids=MODELS)
def test_every_cell_of_a_sound_backend_is_right(made: Model) -> None:
    found, failure = observe_steps(_prober(made), 8)
    assert not failure
    assert set(found) == set(made.stack)
    for place, steps in found.items():
        limits = rounding_limits(made.contract, "float32", made.stack[place], steps)
        assert all(error.max() <= limit for error, limit in zip(steps.error(made.stack[place]), limits, strict=True))


@pytest.mark.parametrize("made", MODELS.values(), ids=MODELS)
def test_a_fault_is_seen_in_its_own_cell_alone(made: Model) -> None:
    place = max(made.stack)
    wrong = replace(made.stack[place], w_ih=-made.stack[place].w_ih)
    found, _ = observe_steps(_prober(made, Fault(stack={place: wrong})), 8)
    beyond = {own for own, steps in found.items() if steps.error(made.stack[own])[0].max() > 1e-4}
    assert beyond == {place}


@pytest.mark.parametrize("name", ["lstm-zero-start", "gru-bi-zero-start"])
def test_recurrent_weights_show_in_a_second_step_of_a_start_from_zeros(name: str) -> None:
    made = MODELS[name]
    place = max(made.stack)
    wrong = replace(made.stack[place], w_hh=-made.stack[place].w_hh)
    found, _ = observe_steps(_prober(made, Fault(stack={place: wrong})), 8)
    beyond = {own for own, steps in found.items() if steps.error(made.stack[own])[0].max() > 1e-4}
    assert beyond == {place}
    assert len(found[place].x) == 16


def test_a_backend_that_gives_output_alone_shows_its_only_layer() -> None:
    made = model("gru", 1, 2)
    compute = made.compute()
    backend = FakeBackend(lambda feeds: {"output": compute(feeds)["output"]})
    found, _ = observe_steps(Prober(backend, made.contract, made.contract.outputs[:1], 4), 8)
    assert set(found) == {(0, 0), (0, 1)}
    assert max(steps.error(made.stack[place])[0].max() for place, steps in found.items()) < 1e-6


def test_values_that_are_no_numbers_show_nothing() -> None:
    made = model("lstm")
    compute = made.compute()
    prober = Prober(
        FakeBackend(lambda feeds: {name: value * np.nan for name, value in compute(feeds).items()}),
        made.contract,
        made.contract.outputs,
        4,
    )
    assert observe_steps(prober, 8) == ({}, "")


def test_a_backend_that_refuses_says_why() -> None:
    made = model("lstm")
    prober = Prober(FakeBackend(made.compute(), most_rows=0), made.contract, made.contract.outputs, 4)
    found, failure = observe_steps(prober, 8)
    assert not found
    assert "expected fewer rows" in failure
