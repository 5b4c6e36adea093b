"""Where a backend first leaves the truth: output, layer, direction, gate and time step."""

import numpy as np

from rnnx.diagnosis.diagnosis import Direction, Location
from rnnx.diagnosis.hypotheses import Hypothesis
from rnnx.diagnosis.observations import Observation
from rnnx.diagnosis.simulation import Place, simulate
from rnnx.diagnosis.suspect import Suspect
from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Recurrence

_LONGEST = 32
"""Time steps of the longest case whose parts are run one by one."""

_DIRECTIONS: tuple[Direction, Direction] = ("forward", "backward")


def locate(
    suspect: Suspect,
    hypothesis: Hypothesis | None = None,
    gate: str | None = None,
    one: Observation | None = None,
) -> Location | None:
    """The place in the smallest failing case, or in `one`; what a hypothesis knows of cells and gate is taken over."""
    if not suspect.failing:
        return None
    one = one or next((found for found in suspect.failing if not found.failure), suspect.failing[0])
    name = _first_output(one)
    if one.failure or name not in one.values or one.values[name].shape != one.entry.truth[name].shape:
        return Location(output=name, case=one.entry.case.name)
    place = _place(suspect, one, hypothesis)
    return Location(
        output=name,
        case=one.entry.case.name,
        layer=None if place is None else place[0],
        direction=None if place is None or place[1] is None else _DIRECTIONS[place[1]],
        gate=gate or (hypothesis.gate if hypothesis else None),
        time_step=None if place is None else onset(suspect, one, *place),
    )


def _first_output(one: Observation) -> str:
    """The failing output that says most: a state, whose rows are layers and directions, before `output`."""
    wrong = [*one.problems, *(name for name in one.failed if name not in one.problems)] or list(one.limits)
    return next((name for name in ("hn", "cn") if name in wrong), wrong[0])


def _place(suspect: Suspect, one: Observation, hypothesis: Hypothesis | None) -> tuple[int, int | None] | None:
    if hypothesis and hypothesis.places:
        return _common(suspect.contract, hypothesis.places)
    if suspect.faulty:
        return _common(suspect.contract, suspect.faulty)
    return _place_of_values(suspect.contract, one)


def _common(contract: Recurrence, places: tuple[Place, ...]) -> tuple[int, int | None]:
    """The lowest layer of some cells, and their direction there where it is one of two."""
    layer = min(place[0] for place in places)
    directions = {direction for own, direction in places if own == layer}
    return layer, directions.pop() if len(directions) == 1 and contract.directions == 2 else None


def _place_of_values(contract: Recurrence, one: Observation) -> tuple[int, int | None] | None:
    """The lowest row of hn or cn that is wrong; where both are right, the last layer and the wrong half of output."""
    if contract.form != "encoder":
        return 0, None
    rows: list[int] = []
    for name in ("hn", "cn"):
        if name in one.failed and one.values[name].shape == one.entry.truth[name].shape:
            rows += [int(row) for row in np.flatnonzero(_wrong(one, name).any(axis=(1, 2)))]
    if rows:
        places = tuple((row // contract.directions, row % contract.directions) for row in rows)
        return _common(contract, places)
    if "output" not in one.failed:
        return None
    halves = np.split(_wrong(one, "output"), contract.directions, axis=-1)
    places = tuple((contract.layers - 1, direction) for direction, half in enumerate(halves) if half.any())
    return _common(contract, places) if places else None


def onset(suspect: Suspect, one: Observation, layer: int, direction: int | None) -> int | None:
    """The first time step that a cell computes wrongly, counted in the sequence's own order."""
    contract = suspect.contract
    if contract.form == "step":
        return None
    found = _onset_of_state(suspect, one, layer, direction or 0)
    return _onset_of_output(contract, one, direction) if found is None else found


def _onset_of_state(suspect: Suspect, one: Observation, layer: int, direction: int) -> int | None:
    """By ever longer parts of the case, from the end where the direction begins: `hn` shows the cell after each."""
    contract, stack = suspect.contract, suspect.stack
    if contract.form != "encoder" or stack is None or one.time > _LONGEST or (contract.lengths and direction):
        return None
    axis, row = (1 if contract.batch_first else 0), layer * contract.directions + direction
    for steps in range(1, one.time + 1):
        part = range(one.time - steps, one.time) if direction else range(steps)
        feeds = {**one.entry.case.feeds, "x": one.entry.case.feeds["x"].take(part, axis)}
        if contract.lengths:
            feeds["lengths"] = np.minimum(feeds["lengths"], np.int32(steps))
        answer = suspect.prober.ask_rows(feeds)
        if not answer or "hn" not in answer.values:
            return None
        right = simulate(stack, contract, feeds)
        limits = ((name, one.limits[name]) for name in ("hn", "cn") if name in one.limits and name in answer.values)
        if any(not np.abs(answer.values[name][row] - right[name][row]).max() <= limit for name, limit in limits):
            return part[0] if direction else part[-1]
    return None


def _onset_of_output(contract: Recurrence, one: Observation, direction: int | None) -> int | None:
    if "output" not in one.values or "output" in one.problems:
        return None
    wrong = _wrong(one, "output")
    half = wrong if direction is None else np.split(wrong, contract.directions, axis=-1)[direction]
    steps = np.flatnonzero(half.any(axis=(0, 2) if contract.batch_first else (1, 2)))
    if not len(steps):
        return None
    return int(steps[-1] if direction == 1 else steps[0])


def _wrong(one: Observation, name: str) -> Array:
    with np.errstate(invalid="ignore"):
        result: Array = ~(np.abs(one.values[name] - one.entry.truth[name]) <= one.limits[name])
    return result
