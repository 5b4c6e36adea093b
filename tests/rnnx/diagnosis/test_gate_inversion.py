from collections.abc import Callable
from copy import deepcopy

import numpy as np
import pytest
from tests.rnnx.diagnosis.conftest import HIDDEN, FakeBackend, Model, model

from rnnx.diagnosis.arithmetic import GateWeights
from rnnx.diagnosis.gate_inversion import fit_gate, letter, rows_needed, wrong_units
from rnnx.diagnosis.prober import Prober
from rnnx.diagnosis.simulation import Fault
from rnnx.diagnosis.single_steps import CellSteps, observe_steps, rounding_limits
from rnnx.diagnosis.weight_faults import described, repaired
from rnnx.weights.recurrence import GATES

KEYS = {"w_ih": "weight_ih_l0", "w_hh": "weight_hh_l0", "b_ih": "bias_ih_l0", "b_hh": "bias_hh_l0"}
MODELS = {
    "lstm": model("lstm"),
    "gru": model("gru"),
    "lstm-unrolled": model("lstm", form="unrolled"),
    "gru-step": model("gru", form="step"),
    "rnn": model("rnn"),
    "rnn-relu-step": model("rnn", form="step", nonlinearity="relu"),
}
SEVERAL_GATES = [name for name, made in MODELS.items() if made.contract.cell != "rnn"]
PROJECTED = model("lstm", projection=4)


def _broken(made: Model, change: Callable[[GateWeights], None]) -> GateWeights:
    own = made.stack[0, 0]
    copy = deepcopy(own)
    change(copy)
    return copy


def _seen(made: Model, wrong: GateWeights) -> tuple[CellSteps, tuple[float, float]]:
    backend = FakeBackend(made.compute(Fault(stack={(0, 0): wrong})))
    prober = Prober(backend, made.contract, made.contract.outputs, 4)
    steps = observe_steps(prober, rows_needed(wrong), seed=3)[0][0, 0]
    return steps, rounding_limits(made.contract, "float32", made.stack[0, 0], steps)


CASES = [
    (name, gate, part)
    for name, made in MODELS.items()
    for gate in range(GATES[made.contract.cell])
    for part in ("w_ih", "w_hh")
]


@pytest.mark.parametrize(("name", "gate", "part"), CASES, ids=lambda value: str(value))
def test_the_gate_the_row_and_the_column_of_one_value_are_found(name: str, gate: int, part: str) -> None:
    made, unit, column = MODELS[name], 2, 3
    own = made.stack[0, 0]
    wrong = _broken(made, lambda copy: getattr(copy, part).__setitem__((gate, unit, column), 0.9))
    steps, limits = _seen(made, wrong)
    assert wrong_units(own, steps, limits) == (unit,)
    fit = fit_gate(own, steps, limits, unit)
    assert fit is not None
    assert (fit.gate, fit.unit) == (gate, unit)
    expected = 0.9 - getattr(own, part)[gate, unit, column]
    assert fit.by_part[part][column] == pytest.approx(expected, abs=1e-4)
    assert f"{KEYS[part]}, gate {letter(own, gate)}, row {gate * HIDDEN + unit}: column 3 is off" in described(
        own, [fit], KEYS
    )
    np.testing.assert_allclose(getattr(repaired(own, [fit]), part), getattr(wrong, part), atol=1e-4)


def _zeroed(copy: GateWeights) -> None:
    copy.w_hh[1] = 0


def _flipped(copy: GateWeights) -> None:
    copy.w_ih[0, 1:3] *= -1


def _shifted(copy: GateWeights) -> None:
    copy.w_ih[2, 4] = np.roll(copy.w_ih[2, 4], 1)


def _signed(copy: GateWeights) -> None:
    copy.w_hh[0, 0, 5] *= -1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_zeroed, "weight_hh_l0, gate {1}, all rows: zeros"),
        (_flipped, "weight_ih_l0, gate {0}, rows 1–2: flipped sign"),
        (_shifted, "weight_ih_l0, gate {2}, row 16: columns shifted by one"),
        (_signed, "weight_hh_l0, gate {0}, row 0: column 5 has the other sign"),
    ],
    ids=["zeroed", "flipped", "shifted", "signed"],
)
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_what_is_wrong_is_told(name: str, change: Callable[[GateWeights], None], says: str) -> None:
    made = MODELS[name]
    own, letters = made.stack[0, 0], "ifgo" if name == "lstm" else "rzn"
    steps, limits = _seen(made, _broken(made, change))
    fits = [fit_gate(own, steps, limits, unit) for unit in wrong_units(own, steps, limits)]
    assert described(own, [fit for fit in fits if fit], KEYS) == says.format(*letters)


def test_a_grus_candidate_tells_its_biases_apart() -> None:
    made = MODELS["gru"]
    own = made.stack[0, 0]
    steps, limits = _seen(made, _broken(made, lambda copy: copy.b_hh.__setitem__((2, 1), 0.0)))
    fit = fit_gate(own, steps, limits, 1)
    assert fit is not None
    assert described(own, [fit], KEYS).startswith("bias_hh_l0, gate n, row 13")


@pytest.mark.parametrize("name", SEVERAL_GATES)
def test_two_gates_wrong_at_once_are_not_one(name: str) -> None:
    made = MODELS[name]

    def both(copy: GateWeights) -> None:
        copy.w_ih[0, 2] *= -1
        copy.w_hh[1, 2] *= -1

    steps, limits = _seen(made, _broken(made, both))
    assert fit_gate(made.stack[0, 0], steps, limits, 2) is None


@pytest.mark.parametrize("gate", [0, 1, 2])
def test_the_cell_state_tells_the_gates_of_a_projected_lstm(gate: int) -> None:
    own = PROJECTED.stack[0, 0]
    wrong = _broken(PROJECTED, lambda copy: copy.w_hh.__setitem__((gate, 2, 3), 0.9))
    steps, limits = _seen(PROJECTED, wrong)
    assert wrong_units(own, steps, limits) == (2,)
    fit = fit_gate(own, steps, limits, 2)
    assert fit is not None
    assert (fit.gate, fit.unit) == (gate, 2)
    np.testing.assert_allclose(repaired(own, [fit]).w_hh, wrong.w_hh, atol=1e-4)


def test_what_only_a_projected_h_shows_is_no_units_fault() -> None:
    wrong = _broken(PROJECTED, lambda copy: copy.w_hh.__setitem__((3, 2, 3), 0.9))
    steps, limits = _seen(PROJECTED, wrong)
    assert wrong_units(PROJECTED.stack[0, 0], steps, limits) == ()
