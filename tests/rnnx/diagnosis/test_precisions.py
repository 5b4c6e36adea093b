from collections.abc import Mapping

import numpy as np
import pytest
from tests.rnnx.diagnosis.conftest import Array, Compute, Model, model, suspect

from rnnx.diagnosis.arithmetic import Arithmetic
from rnnx.diagnosis.hypotheses import explains
from rnnx.diagnosis.observations import Observation
from rnnx.diagnosis.precisions import emulations, explained, rounding_fault
from rnnx.diagnosis.rounding import Rounding
from rnnx.diagnosis.saturation import bounded_states, overflows, overflows_alike, saturated_inputs
from rnnx.diagnosis.simulation import Fault
from rnnx.truths.cases import Case, random_feeds

MADE = model("lstm", seed=3)


def _one(compute: Compute) -> Observation:
    return suspect(MADE, compute).observations[0]


def test_the_share_explained_is_one_for_the_values_and_zero_for_the_truth() -> None:
    compute = MADE.compute(Fault(arithmetic={(0, 0): Arithmetic(clip=0.2)}))
    one = _one(compute)
    assert explained([one], [dict(compute(one.entry.case.feeds))]) == pytest.approx(1, abs=1e-6)
    assert explained([one], [dict(one.entry.truth)]) == 0
    assert explained([one], [{name: value + 1 for name, value in one.entry.truth.items()}]) < 0


def test_formats_that_round_alike_are_told_by_what_they_round() -> None:
    rounding = Rounding(format="float16", operands=frozenset(["weights"]))
    found = emulations(suspect(MADE, MADE.compute(rounding_fault(MADE.stack, rounding))))
    assert found[0].cause == "float16-precision"
    assert found[0].detail.startswith("weights (")
    assert found[0].explained > 0.99


def _clipped(bound: float, step: float | None) -> Compute:
    compute = MADE.compute()

    def clipped(feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        x = feeds["x"].clip(-bound, bound)
        return compute({**feeds, "x": np.rint(x / step) * step if step else x})

    return clipped


@pytest.mark.parametrize(
    ("step", "cause"), [(None, "clip"), (0.7 / 127, "int8-saturation")], ids=["in-float", "in-int8"]
)
def test_bounded_inputs_are_found_with_their_bound(step: float | None, cause: str) -> None:
    found = saturated_inputs(suspect(MADE, _clipped(0.7, step)))
    assert found is not None
    assert found.cause == cause
    assert float(found.detail.rpartition("±")[2]) == pytest.approx(0.7, abs=0.01)


def test_inputs_that_are_not_bounded_are_not_said_to_be() -> None:
    assert saturated_inputs(suspect(MADE, MADE.compute(Fault(arithmetic={(0, 0): Arithmetic(clip=0.2)})))) is None


def _grown(made: Model) -> list[Case]:
    feeds = random_feeds(made.contract, 3, 2, 0)
    return [Case(name="grown", feeds={**feeds, "c0": feeds["c0"] * np.float32(3)})]


def test_a_bound_of_the_cell_state_is_its_largest_value() -> None:
    compute = MADE.compute(Fault(arithmetic={(0, 0): Arithmetic(cell_clip=0.4)}))
    under = suspect(MADE, compute, _grown(MADE))
    (found,) = bounded_states(under)
    assert found.detail == "the state, at ±0.4"
    assert explains(found, under.observations)


def test_float16_overflows_where_values_are_infinite_and_nowhere_else() -> None:
    feeds = random_feeds(MADE.contract, 1, 3, 0)
    large = Case(name="large", feeds={**feeds, "c0": feeds["c0"] * np.float32(2e5)})
    rounding = Rounding(format="float16", operands=frozenset(["cell"]))
    under = suspect(MADE, MADE.compute(rounding_fault(MADE.stack, rounding)), [large])
    (one,) = under.observations
    assert not np.isfinite(one.values["cn"]).all()
    alike = {found.detail: overflows_alike(found.predict, one, MADE.contract) for found in overflows(under)}
    assert alike["the cell state"]
    assert not alike["the cell state that comes in"]
