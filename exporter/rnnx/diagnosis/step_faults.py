"""Hypotheses about a cell's own step: its gates, biases, directions, weights and activation functions."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any

import numpy as np

from rnnx.diagnosis.arithmetic import ACTIVATIONS, PYTORCH, Arithmetic, GateWeights
from rnnx.diagnosis.simulation import Place, Stack
from rnnx.weights.weights import ONNX_GATE_ORDER
from rnnx_runtime.contract import Recurrence

GATE_LETTERS = {"lstm": "ifgo", "gru": "rzn", "rnn": "h"}
"""PyTorch's gates in their order; a plain RNN has the one sum that becomes h."""

PARTS = {"w_ih": "weight_ih", "w_hh": "weight_hh", "b_ih": "bias_ih", "b_hh": "bias_hh"}

KEYS = {**PARTS, "w_hr": "weight_hr"}
"""PyTorch's words for a cell's weights."""

Edit = Callable[[Stack, Place], GateWeights]
"""A cell's weights as a fault leaves them."""


@dataclass(frozen=True, kw_only=True)
class StepFault:
    """A fault of a cell's step: its weights after `edit`, computed by `arithmetic`."""

    cause: str
    detail: str
    edit: Edit = lambda stack, place: stack[place]
    arithmetic: Arithmetic = PYTORCH
    gate: str | None = None


def step_faults(contract: Recurrence) -> Iterator[StepFault]:
    """Every known fault of a step, from the specific to the general."""
    cell = contract.cell
    yield from _gate_orders(cell)
    if cell == "gru":
        yield StepFault(
            cause="reset-gate-before",
            detail="n = tanh(W·x + R·(r·h) + b)",
            arithmetic=Arithmetic(reset_before=True),
            gate="n",
        )
    if cell == "lstm":
        detail = "f is 1 - i, so that f's own weights are not used"
        yield StepFault(cause="input-forget", detail=detail, edit=_changed(_coupled), gate="f")
    yield from _biases()
    if contract.directions == 2:
        yield StepFault(cause="directions-swapped", detail="each has the other's weights", edit=_other_direction)
        yield StepFault(cause="directions-swapped", detail="both have the forward weights", edit=_always(0))
        yield StepFault(cause="directions-swapped", detail="both have the backward weights", edit=_always(1))
    yield from _transposes()
    yield from _nonlinearities(contract.nonlinearity or "tanh") if cell == "rnn" else _activations(cell)
    yield from _whole_matrices(projected=contract.projection_size != contract.hidden_size)


def _gate_orders(cell: str) -> Iterator[StepFault]:
    letters = GATE_LETTERS[cell]
    unordered = tuple(int(place) for place in np.argsort(ONNX_GATE_ORDER[cell]))
    choices: Sequence[tuple[str, ...]] = (
        ("w_ih", "w_hh", "b_ih", "b_hh"), ("w_ih", "w_hh"), ("b_ih", "b_hh"), ("w_ih",), ("w_hh",), ("b_ih",), ("b_hh",)
    )  # fmt: skip
    for parts in choices:
        for order in list(permutations(range(len(letters))))[1:]:
            read = ", ".join(letters[place] for place in order)
            known = " (PyTorch's order, left as it is)" if order == unordered else ""
            yield StepFault(
                cause="gate-order",
                detail=f"for {', '.join(letters)} it reads {read}{known} of {_named(parts)}",
                edit=_reordered(parts, order),
            )


def _biases() -> Iterator[StepFault]:
    mixed: dict[str, tuple[str, Callable[[GateWeights], GateWeights]]] = {
        "bias_ih and bias_hh have changed places": (
            "bias-swapped",
            lambda own: replace(own, b_ih=own.b_hh, b_hh=own.b_ih),
        ),
        "both are added on the input's side": (
            "bias-swapped",
            lambda own: replace(own, b_ih=own.b_ih + own.b_hh, b_hh=0 * own.b_hh),
        ),
        "both are added on the recurrent side": (
            "bias-swapped",
            lambda own: replace(own, b_hh=own.b_ih + own.b_hh, b_ih=0 * own.b_ih),
        ),
        "bias_ih and bias_hh": ("bias-dropped", lambda own: replace(own, b_ih=0 * own.b_ih, b_hh=0 * own.b_hh)),
        "bias_ih": ("bias-dropped", lambda own: replace(own, b_ih=0 * own.b_ih)),
        "bias_hh": ("bias-dropped", lambda own: replace(own, b_hh=0 * own.b_hh)),
        "bias_ih is used twice, bias_hh never": ("bias-dropped", lambda own: replace(own, b_hh=own.b_ih)),
        "bias_hh is used twice, bias_ih never": ("bias-dropped", lambda own: replace(own, b_ih=own.b_hh)),
    }
    for detail, (cause, change) in mixed.items():
        yield StepFault(cause=cause, detail=detail, edit=_changed(change))


def _transposes() -> Iterator[StepFault]:
    for parts in (("w_hh",), ("w_ih", "w_hh"), ("w_ih",)):
        yield StepFault(
            cause="weights-transposed", detail=f"{_named(parts)}, gate by gate", edit=_changed(_transposed(parts))
        )


def _activations(cell: str) -> Iterator[StepFault]:
    for name in ACTIVATIONS:
        if name != "tanh":
            detail = f"{name} in place of the candidate's tanh"
            gate = "g" if cell == "lstm" else "n"
            yield StepFault(cause="wrong-activation", detail=detail, arithmetic=Arithmetic(candidate=name), gate=gate)
        if name != "tanh" and cell == "lstm":
            detail = f"{name} in place of the tanh of c"
            yield StepFault(cause="wrong-activation", detail=detail, arithmetic=Arithmetic(output=name))
            both = Arithmetic(candidate=name, output=name)
            yield StepFault(cause="wrong-activation", detail=f"{name} in place of both tanh", arithmetic=both)
        if name != "sigmoid":
            detail = f"{name} in place of the gates' sigmoid"
            yield StepFault(cause="wrong-activation", detail=detail, arithmetic=Arithmetic(gate=name))


def _nonlinearities(own: str) -> Iterator[StepFault]:
    for name in ACTIVATIONS:
        if name != own:
            detail = f"{name} in place of {own}"
            yield StepFault(cause="wrong-activation", detail=detail, arithmetic=Arithmetic(candidate=name))


def _whole_matrices(*, projected: bool) -> Iterator[StepFault]:
    """Edits of a weight that are the same in all its gates; a fault in one gate is found by its pre-activations."""
    edits: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "all zeros": np.zeros_like,
        "every sign flipped": np.negative,
        "columns shifted by one": lambda weight: np.roll(weight, 1, -1),
        "columns shifted by one to the left": lambda weight: np.roll(weight, -1, -1),
        "columns in reverse order": lambda weight: weight[..., ::-1],
        "rows shifted by one within each gate": lambda weight: np.roll(weight, 1, 1),
        "rows shifted by one upwards within each gate": lambda weight: np.roll(weight, -1, 1),
        "rows in reverse order within each gate": lambda weight: weight[:, ::-1],
    }
    for detail, change in edits.items():
        for parts in (("w_ih",), ("w_hh",), ("w_ih", "w_hh"), *((("w_hr",),) if projected else ())):
            yield StepFault(
                cause="weight-fault", detail=f"{_named(parts)}: {detail}", edit=_changed(_with(parts, change))
            )


def _reordered(parts: Sequence[str], order: tuple[int, ...]) -> Edit:
    return _changed(_with(parts, lambda value: value[list(order)]))


def _transposed(parts: Sequence[str]) -> Callable[[GateWeights], GateWeights]:
    def change(own: GateWeights) -> GateWeights:
        square = [name for name in parts if getattr(own, name).shape[1] == getattr(own, name).shape[2]]
        return replace(own, **{name: getattr(own, name).swapaxes(1, 2) for name in square})

    return change


def _with(parts: Sequence[str], change: Callable[[np.ndarray], np.ndarray]) -> Callable[[GateWeights], GateWeights]:
    def changed(own: GateWeights) -> GateWeights:
        values: dict[str, Any] = {name: change(getattr(own, name)) for name in parts}
        return replace(own, **values)

    return changed


def _changed(change: Callable[[GateWeights], GateWeights]) -> Edit:
    return lambda stack, place: change(stack[place])


def _coupled(own: GateWeights) -> GateWeights:
    """The forget gate 1 - i: its sum is the input gate's with the other sign."""

    def change(value: np.ndarray) -> np.ndarray:
        return np.stack([value[0], -value[0], *value[2:]])

    return _with(tuple(PARTS), change)(own)


def _other_direction(stack: Stack, place: Place) -> GateWeights:
    return stack[place[0], 1 - place[1]]


def _always(direction: int) -> Edit:
    return lambda stack, place: stack[place[0], direction]


def _named(parts: Sequence[str]) -> str:
    return "all weights and biases" if len(parts) == len(PARTS) else " and ".join(KEYS[name] for name in parts)
