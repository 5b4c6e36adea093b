"""Why a row failed: known causes tried as predictions of what the backend gives, until one is what it gave."""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from rnnx.diagnosis.baked_sizes import Baked, baked_size, node_in_message
from rnnx.diagnosis.causes import KNOWN_CAUSES
from rnnx.diagnosis.clipping import clip_faults
from rnnx.diagnosis.column_faults import column_faults
from rnnx.diagnosis.diagnosis import Diagnosis
from rnnx.diagnosis.gate_inversion import letter
from rnnx.diagnosis.hypotheses import Hypothesis, explains
from rnnx.diagnosis.localisation import locate
from rnnx.diagnosis.nodes import baked_node, recurrent_node
from rnnx.diagnosis.observations import Observation
from rnnx.diagnosis.precisions import emulations
from rnnx.diagnosis.prober import Prober
from rnnx.diagnosis.saturation import bounded_states, overflows, overflows_alike, saturated_inputs
from rnnx.diagnosis.scaling import scaled_outputs, scaled_weights
from rnnx.diagnosis.sequence_faults import layout, lengths, order_of_time, output_halves, shifted_lengths
from rnnx.diagnosis.simulation import Fault, Place, Stack, simulate
from rnnx.diagnosis.state_faults import first_states, last_states
from rnnx.diagnosis.step_faults import StepFault, step_faults
from rnnx.diagnosis.suspect import Suspect, read_suspect, unseen_places
from rnnx.diagnosis.weight_faults import gate_fits, weight_faults
from rnnx.parity.parity import ParityRow
from rnnx.runners.candidates import Candidate
from rnnx.truths.blas_threads import one_thread
from rnnx.truths.truth import CaseTruth
from rnnx.weights.weights import RecurrentWeights
from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Recurrence, TensorSpec

if TYPE_CHECKING:
    from onnx import ModelProto


@dataclass(frozen=True, kw_only=True)
class _Named:
    """A cause that was found, with where the graph or a message places it."""

    hypothesis: Hypothesis
    node: str = ""
    evidence: tuple[str, ...] = ()
    seen_in: Observation | None = None


def diagnose(
    candidate: Candidate,
    row: ParityRow,
    truth: Sequence[CaseTruth],
    contract: Recurrence,
    weights: RecurrentWeights | None,
    model: "ModelProto | None" = None,
    *,
    outputs: Sequence[TensorSpec],
) -> Diagnosis:
    """Say where and why a backend's row differs from the truth.

    The backend is asked again, with the row's cases and with inputs of the diagnosis's own; a failure to answer is
    evidence and never an error.

    Args:
        candidate: the backend.
        row: what `compare` found of it, with a failure.
        truth: the cases of the row.
        contract: what the model should compute.
        weights: the checkpoint's; without them a fault is located but mostly not named.
        model: the graph, which names nodes.
        outputs: the outputs that the backend gives.
    """
    batch = max((_batch(entry, contract) for entry in truth), default=1)
    with one_thread(), np.errstate(all="ignore"):  # a wrong hypothesis may overflow or divide by zero, which refutes it
        suspect = read_suspect(Prober(candidate, contract, outputs, batch), row, truth, weights, model)
        found = _named(suspect)
        return _told_of(suspect, found) if found else _unnamed(suspect)


def _told_of(suspect: Suspect, found: _Named) -> Diagnosis:
    cause = KNOWN_CAUSES[found.hypothesis.cause]
    return Diagnosis(
        backend=suspect.row.backend,
        cause=found.hypothesis.cause,
        summary=cause.told(found.hypothesis.detail),
        remedy=cause.remedy,
        location=locate(suspect, found.hypothesis, one=found.seen_in),
        node=found.node,
        evidence=(*found.evidence, *_evidence(suspect)),
    )


def _named(suspect: Suspect) -> _Named | None:
    if not suspect.failing:
        return None
    steps: tuple[Callable[[Suspect], _Named | None], ...] = (
        _float64_narrowed, _overflowing, _misled, _baked, _misstepped, _bounded, _rounded, _faulty_weights
    )  # fmt: skip
    return next((found for step in steps if (found := step(suspect)) is not None), None)


def _float64_narrowed(suspect: Suspect) -> _Named | None:
    """float32 where the graph declares float64."""
    for spec in suspect.prober.outputs:
        for one in suspect.failing:
            value = one.values.get(spec.name)
            if spec.dtype == "float64" and value is not None and value.dtype == "float32":
                detail = f"{spec.name} is float32, declared as float64"
                return _Named(hypothesis=_without_prediction("float64-as-float32", detail))
    return None


def _overflowing(suspect: Suspect) -> _Named | None:
    """NaN or Inf exactly where float16 has them."""
    lost = [one for one in suspect.failing if any("NaN or Inf" in problem for problem in one.problems.values())]
    if not lost:
        return None
    for hypothesis in overflows(suspect):
        if all(overflows_alike(hypothesis.predict, one, suspect.contract) for one in lost):
            return _Named(hypothesis=hypothesis, node=_node(suspect, hypothesis), seen_in=lost[0])
    return None


def _misled(suspect: Suspect) -> _Named | None:
    """States or sequences led to the wrong place, or multiplied on their way."""
    generators = (
        last_states, first_states, output_halves, lengths, shifted_lengths, layout, order_of_time, scaled_outputs
    )  # fmt: skip
    return _held(suspect, _first(suspect, chain.from_iterable(generate(suspect) for generate in generators)))


def _baked(suspect: Suspect) -> _Named | None:
    baked: Baked | None = baked_size(suspect)
    if baked is None:
        return None
    node = node_in_message(baked.said) or baked_node(suspect.model, baked.cause)
    return _Named(
        hypothesis=_without_prediction(baked.cause, baked.detail),
        node=node,
        evidence=(baked.said,),
        seen_in=suspect.failing[0],
    )


def _misstepped(suspect: Suspect) -> _Named | None:
    """One known fault of a step in every cell that is wrong by itself, or in cells that cannot be seen alone."""
    stack = suspect.stack
    if stack is None:
        return None
    faults = chain(step_faults(suspect.contract), clip_faults(suspect), scaled_weights(suspect))
    if suspect.faulty:
        fitting = (_lifted(suspect, stack, fault, suspect.faulty) for fault in faults if _fits(suspect, stack, fault))
        return _held(suspect, _first(suspect, fitting))
    unseen = (_lifted(suspect, stack, fault, places) for fault in faults for places in unseen_places(suspect))
    return _held(suspect, _first(suspect, unseen))


def _bounded(suspect: Suspect) -> _Named | None:
    return _held(suspect, _first(suspect, bounded_states(suspect)) or saturated_inputs(suspect))


def _rounded(suspect: Suspect) -> _Named | None:
    found = emulations(suspect)
    return _Named(hypothesis=_without_prediction(found[0].cause, found[0].detail)) if found else None


def _faulty_weights(suspect: Suspect) -> _Named | None:
    return _held(suspect, _first(suspect, chain(weight_faults(suspect), column_faults(suspect))))


def _held(suspect: Suspect, hypothesis: Hypothesis | None) -> _Named | None:
    return _Named(hypothesis=hypothesis, node=_node(suspect, hypothesis)) if hypothesis else None


def _first(suspect: Suspect, hypotheses: Iterable[Hypothesis]) -> Hypothesis | None:
    return next((one for one in hypotheses if explains(one, suspect.observations)), None)


def _fits(suspect: Suspect, stack: Stack, fault: StepFault) -> bool:
    """Whether a fault explains the single steps of every faulty cell."""
    for place in suspect.faulty:
        weights = fault.edit(stack, place)
        for sighting in suspect.sightings[place]:
            errors = sighting.steps.error(weights, fault.arithmetic)
            if any(float(error.max()) > 2 * limit for error, limit in zip(errors, sighting.limits, strict=True)):
                return False
    return True


def _lifted(suspect: Suspect, stack: Stack, fault: StepFault, places: tuple[Place, ...]) -> Hypothesis:
    """A fault of a step as one of the whole model, whose weights are edited when a prediction is asked for."""

    def predict(entry: CaseTruth) -> Mapping[str, Array]:
        return simulate(stack, suspect.contract, entry.case.feeds, whole())

    @functools.cache
    def whole() -> Fault:
        edited = {place: fault.edit(stack, place) for place in places}
        return Fault(stack=edited, arithmetic=dict.fromkeys(places, fault.arithmetic))

    return Hypothesis(
        cause=fault.cause,
        detail=fault.detail,
        predict=predict,
        places=places,
        gate=fault.gate,
    )


def _unnamed(suspect: Suspect) -> Diagnosis:
    """Where it differs, when no cause explains it."""
    location = locate(suspect, gate=_gate(suspect))
    if not suspect.failing:
        summary = "the failures did not come back when the cases were run again: the backend is not deterministic"
        remedy = "run verify again, with one thread"
    elif all(one.failure for one in suspect.failing):
        summary, remedy = f"the backend refuses the case: {suspect.failing[0].failure}", "see the backend's message"
    elif suspect.stack is None:
        summary = f"{location.text if location else 'the row'} differs; a golden file alone does not say why"
        remedy = "give the checkpoint: its weights let the cause be named"
    else:
        summary = f"{location.text if location else 'the row'} differs, and no known cause explains it"
        remedy = "rnnx doctor looks at the graph; compare the named part with the checkpoint"
    return Diagnosis(
        backend=suspect.row.backend,
        cause=None,
        summary=summary,
        remedy=remedy,
        location=location,
        node=recurrent_node(suspect.model, suspect.contract.layers, suspect.faulty) if suspect.faulty else "",
        evidence=tuple(_evidence(suspect)),
    )


def _gate(suspect: Suspect) -> str | None:
    """The one gate that is wrong in the first faulty cell, where its pre-activations show it."""
    if suspect.stack is None or not suspect.faulty:
        return None
    place = suspect.faulty[0]
    letters = {letter(suspect.stack[place], fit.gate) for fit in gate_fits(suspect, suspect.stack, place)}
    return letters.pop() if len(letters) == 1 else None


def _evidence(suspect: Suspect) -> Iterator[str]:
    failing = suspect.failing
    yield (
        f"{len(failing)} of {len(suspect.observations)} cases differ, the smallest is {failing[0].entry.case.name}"
        if failing
        else "no case differs when it is run again"
    )
    if suspect.faulty:
        cells = ", ".join(f"layer {layer} {('forward', 'backward')[direction]}" for layer, direction in suspect.faulty)
        yield f"one step alone is wrong in {cells} of {len(suspect.sightings)} cells"
    elif suspect.sightings and suspect.stack is not None:
        yield f"one step alone is right in each of {len(suspect.sightings)} cells"


def _without_prediction(cause: str, detail: str) -> Hypothesis:
    return Hypothesis(cause=cause, detail=detail, predict=lambda entry: entry.truth)


def _node(suspect: Suspect, hypothesis: Hypothesis) -> str:
    return recurrent_node(suspect.model, suspect.contract.layers, hypothesis.places)


def _batch(entry: CaseTruth, contract: Recurrence) -> int:
    return int(entry.case.feeds["x"].shape[contract.inputs[0].dims.index("B")])
