"""A hypothesis: a known cause that predicts what a backend gives, to be held against what it gave."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from rnnx.diagnosis.observations import Observation
from rnnx.diagnosis.simulation import SOUND, Fault, Feeds, Outputs, Place, Stack, simulate
from rnnx.truths.truth import CaseTruth
from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Recurrence

Prediction = Callable[[CaseTruth], Mapping[str, Array] | None]
"""The outputs of a case; None where the backend would refuse it."""


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """A cause with what was found of it, its prediction and, where it is in one place, the cells and the gate."""

    cause: str
    detail: str
    predict: Prediction
    places: tuple[Place, ...] = ()
    gate: str | None = None


def explains(hypothesis: Hypothesis, observations: Iterable[Observation]) -> bool:
    """Whether the prediction is what the backend gave, in every case."""
    return all(one.agrees(hypothesis.predict(one.entry)) for one in observations)


def faulty_model(
    stack: Stack, contract: Recurrence, fault: Fault = SOUND, *, fed: Callable[[Feeds], Feeds] = dict
) -> Prediction:
    """The prediction of a model with a fault; `fed` is what it makes of its inputs first."""

    def predict(entry: CaseTruth) -> Outputs:
        return simulate(stack, contract, fed(entry.case.feeds), fault)

    return predict
