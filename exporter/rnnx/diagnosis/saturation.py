"""Hypotheses about ranges: x, the weights or the cell state bounded, and values that outgrow float16."""

from collections.abc import Iterator, Mapping

import numpy as np

from rnnx.diagnosis.arithmetic import Arithmetic
from rnnx.diagnosis.hypotheses import Hypothesis, Prediction, faulty_model
from rnnx.diagnosis.observations import Observation
from rnnx.diagnosis.precisions import explained, rounding_fault
from rnnx.diagnosis.rounding import Operand, Rounding
from rnnx.diagnosis.simulation import Fault, Stack
from rnnx.diagnosis.suspect import Suspect
from rnnx.parity.limits import limit_of
from rnnx.parity.tolerances import tolerance_for
from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Recurrence

_BOUNDS = 24
"""Bounds that are tried between the largest value and a hundredth of it."""

_MOSTLY = 0.9
"""The share of the squared error that a bound on x explains where saturation is the cause; the rest is rounding."""

_FLOAT16: Mapping[str, tuple[Operand, ...]] = {
    "the cell state": ("cell",),
    "the cell state that comes in": ("carried",),
    "the cell state, before and after a step": ("cell", "carried"),
    "gates and states": ("gates", "cell", "carried"),
    "weights, sums, gates and states": ("weights", "inputs", "states", "gates", "cell", "carried"),
}


def bounded_states(suspect: Suspect) -> Iterator[Hypothesis]:
    """A cell state clipped at the largest value that it has anywhere."""
    if suspect.stack is None:
        return
    name = "cn" if suspect.contract.cell == "lstm" else "hn"
    values = [one.values[name] for one in suspect.observations if one.ran and name in one.values]
    if not values:
        return
    bound = max(float(np.abs(value).max()) for value in values)
    how = dict.fromkeys(suspect.stack, Arithmetic(cell_clip=bound))
    predict = faulty_model(suspect.stack, suspect.contract, Fault(arithmetic=how))
    yield Hypothesis(cause="clip", detail=f"the state, at ±{bound:.4g}", predict=predict)


def saturated_inputs(suspect: Suspect) -> Hypothesis | None:
    """x bounded: to float32's accuracy by a Clip, to int8's by a scale that is too small."""
    worst = max((one for one in suspect.failing if one.ran), key=_share, default=None)
    if worst is None or suspect.stack is None:
        return None
    largest = float(np.abs(worst.entry.case.feeds["x"]).max())
    found = max(
        (_explained_by(suspect, suspect.stack, worst, bound), bound)
        for bound in largest * np.geomspace(0.01, 1, _BOUNDS)
    )
    bound = _refined(suspect, suspect.stack, worst, found[1])
    predict = _clipped(suspect.stack, suspect.contract, bound)
    ran = [one for one in suspect.observations if one.ran]
    if all(_within_limits(one, predict) for one in ran):
        return Hypothesis(cause="clip", detail=f"x, at ±{bound:.4g}", predict=predict)
    if found[0] >= _MOSTLY and all(_within_int8(one, predict) for one in ran):
        return Hypothesis(cause="int8-saturation", detail=f"x saturates at ±{bound:.3g}", predict=predict)
    return None


def overflows(suspect: Suspect) -> Iterator[Hypothesis]:
    """float16 where values become NaN or Inf, kept when it does so at exactly the same places."""
    if suspect.stack is None:
        return
    for words, operands in _FLOAT16.items():
        fault = rounding_fault(suspect.stack, Rounding(format="float16", operands=frozenset(operands)))
        predict = faulty_model(suspect.stack, suspect.contract, fault)
        yield Hypothesis(cause="float16-overflow", detail=words, predict=predict)


def overflows_alike(predict: Prediction, observation: Observation, contract: Recurrence) -> bool:
    """Whether a prediction is NaN or Inf where the values are, and elsewhere within float16's rounding."""
    with np.errstate(invalid="ignore", over="ignore"):
        expected = predict(observation.entry)
    return expected is not None and all(
        _alike(observation.values.get(name), expected[name], limit_of(observation.entry, name, contract, "float16"))
        for name in observation.limits
    )


def _alike(value: Array | None, expected: Array, limit: float) -> bool:
    if value is None or value.shape != expected.shape:
        return False
    finite = np.isfinite(expected)
    if not (finite == np.isfinite(value)).all():
        return False
    return bool((np.abs(value[finite] - expected[finite]) <= limit).all())


def _share(one: Observation) -> float:
    return max(one.error(name, one.entry.truth[name]) / one.limits[name] for name in one.limits)


def _explained_by(suspect: Suspect, stack: Stack, worst: Observation, bound: float) -> float:
    prediction = _clipped(stack, suspect.contract, bound)(worst.entry)
    return explained([worst], [dict(prediction or {})])


def _refined(suspect: Suspect, stack: Stack, worst: Observation, bound: float) -> float:
    """The bound nearer than the steps it was found with."""
    width: float = 100.0 ** (1 / (_BOUNDS - 1))
    low, high = bound / width, bound * width
    for _ in range(48):
        third = (high - low) / 3
        if _explained_by(suspect, stack, worst, low + third) < _explained_by(suspect, stack, worst, high - third):
            low += third
        else:
            high -= third
    return (low + high) / 2


def _clipped(stack: Stack, contract: Recurrence, bound: float) -> Prediction:
    return faulty_model(
        stack, contract, fed=lambda feeds: {**feeds, "x": np.clip(feeds["x"].astype(np.float64), -bound, bound)}
    )


def _within_limits(one: Observation, predict: Prediction) -> bool:
    """Whether nothing is left but the row's own rounding, which int8's would exceed."""
    prediction = predict(one.entry) or {}
    return all(one.error(name, prediction[name]) <= 2 * limit for name, limit in one.limits.items())


def _within_int8(one: Observation, predict: Prediction) -> bool:
    """Whether what is left is int8's rounding; how large x is does not matter where it is bounded."""
    prediction = predict(one.entry) or {}
    return all(
        one.error(name, prediction[name])
        <= tolerance_for("int8").floor(1, 1, float(np.abs(one.entry.truth[name]).max()))
        for name in one.limits
    )
