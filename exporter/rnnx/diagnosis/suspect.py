"""The backend under diagnosis, with all that its row, its cases and a few probes say about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from rnnx.diagnosis.observations import Observation, observe
from rnnx.diagnosis.prober import Prober
from rnnx.diagnosis.simulation import Place, Stack, stack_of
from rnnx.diagnosis.single_steps import CellSteps, observe_steps, rounding_limits
from rnnx.parity.parity import ParityRow
from rnnx.truths.case_matrix import LARGE
from rnnx.truths.truth import CaseTruth
from rnnx.weights.recurrence import RecurrentModule
from rnnx.weights.weights import RecurrentWeights
from rnnx_runtime.contract import Recurrence

if TYPE_CHECKING:
    from onnx import ModelProto

_ROWS = 12


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """Steps of one cell, with the largest errors of h and c that are rounding."""

    steps: CellSteps
    limits: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """A backend whose row failed. `stack` and `module` are None where only a golden file is known."""

    prober: Prober
    row: ParityRow
    observations: tuple[Observation, ...]
    stack: Stack | None
    module: RecurrentModule | None
    model: "ModelProto | None"

    @property
    def contract(self) -> Recurrence:
        """What the backend should compute."""
        return self.prober.contract

    @cached_property
    def failing(self) -> tuple[Observation, ...]:
        """The observations that the truth does not explain, the smallest first."""
        return tuple(one for one in self.observations if one.failure or one.problems or one.failed)

    @cached_property
    def sightings(self) -> Mapping[Place, tuple[Sighting, ...]]:
        """Each cell that can be seen alone, with moderate and with large inputs."""
        if self.stack is None:
            return {}
        found: dict[Place, tuple[Sighting, ...]] = {}
        for seed, scale in enumerate((1.0, LARGE)):
            for place, steps in observe_steps(self.prober, _ROWS, scale=scale, seed=seed)[0].items():
                limits = rounding_limits(self.contract, self.row.precision, self.stack[place], steps)
                found[place] = (*found.get(place, ()), Sighting(steps=steps, limits=limits))
        return found

    @cached_property
    def faulty(self) -> tuple[Place, ...]:
        """The cells whose single step is not that of the checkpoint's weights."""
        stack = self.stack
        if stack is None:
            return ()
        return tuple(
            place for place, seen in self.sightings.items() if any(_beyond(sighting, stack, place) for sighting in seen)
        )


def unseen_places(suspect: Suspect) -> tuple[tuple[Place, ...], ...]:
    """The cells that may be wrong though no single step of theirs shows it: all of them, and those of each layer.

    That is every cell where the backend answers no probe, and the upper layers of a bidirectional stack that starts
    from zeros, whose recurrent weights no first step uses.
    """
    contract, stack = suspect.contract, suspect.stack or {}
    hidden_upper = not contract.state_inputs and contract.directions == 2
    unseen = [place for place in stack if place not in suspect.sightings or (hidden_upper and place[0] > 0)]
    layers = sorted({layer for layer, _ in unseen})
    own = tuple(tuple(place for place in unseen if place[0] == layer) for layer in layers)
    return tuple(dict.fromkeys((tuple(unseen), *own))) if unseen else ()


def read_suspect(
    prober: Prober,
    row: ParityRow,
    truth: Sequence[CaseTruth],
    weights: RecurrentWeights | None,
    model: "ModelProto | None",
) -> Suspect:
    """Run the row's cases once more and gather what is known."""
    return Suspect(
        prober=prober,
        row=row,
        observations=observe(prober, row, truth),
        stack=stack_of(weights, prober.contract) if weights else None,
        module=weights.module if weights else None,
        model=model,
    )


def _beyond(sighting: Sighting, stack: Stack, place: Place) -> bool:
    errors = sighting.steps.error(stack[place])
    return any(float(error.max()) > limit for error, limit in zip(errors, sighting.limits, strict=True))
