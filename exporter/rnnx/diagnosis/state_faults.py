"""Hypotheses about states: h and c exchanged, rows of layers and directions mixed up, an initial state not used."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, permutations

import numpy as np

from rnnx.diagnosis.hypotheses import Hypothesis, faulty_model
from rnnx.diagnosis.observations import Observation
from rnnx.diagnosis.simulation import Feeds
from rnnx.diagnosis.suspect import Suspect
from rnnx.truths.truth import CaseTruth
from rnnx_runtime.array_type import Array

_FEW_ROWS = 4
"""Rows of a state of which every order is tried; of more, the orders that layouts make, and pairs exchanged."""


def last_states(suspect: Suspect) -> Iterator[Hypothesis]:
    """hn and cn exchanged, or their rows in another order; needs the truth alone."""
    if _can_be_swapped(suspect):
        yield Hypothesis(
            cause="states-swapped", detail="hn holds the cell state and cn the hidden state", predict=_exchanged
        )
    order = _order_found(suspect)
    if order:
        names = " and ".join(order)
        rows = next(iter(order.values()))
        yield Hypothesis(
            cause="layer-states-mixed",
            detail=f"the rows of {names} are those of {_listed(rows)} instead of {_listed(range(len(rows)))}",
            predict=_reordered(order),
        )


def first_states(suspect: Suspect) -> Iterator[Hypothesis]:
    """What a model may make of h0 and c0 before it starts."""
    if suspect.stack is None or not suspect.contract.state_inputs:
        return
    for cause, detail, fed in _feedings(suspect):
        yield Hypothesis(cause=cause, detail=detail, predict=faulty_model(suspect.stack, suspect.contract, fed=fed))


def _feedings(suspect: Suspect) -> Iterator[tuple[str, str, Callable[[Feeds], Feeds]]]:
    contract = suspect.contract
    names = ("h0", "c0") if contract.cell == "lstm" else ("h0",)
    if _can_be_swapped(suspect):
        yield "states-swapped", "h0 is taken for c0 and c0 for h0", _swapped
    for chosen in (names, *((name,) for name in names if len(names) > 1)):
        yield "state-ignored", " and ".join(chosen), _zeroed(chosen, None)
    rows = contract.layers * contract.directions if contract.form == "encoder" else 1
    for row in range(rows if rows > 1 else 0):
        for chosen in (names, *((name,) for name in names if len(names) > 1)):
            yield "state-ignored", f"row {row} of {' and '.join(chosen)}", _zeroed(chosen, row)
    for order in _orders(rows, contract.directions):
        for chosen in (names, *((name,) for name in names if len(names) > 1)):
            detail = f"the rows of {' and '.join(chosen)} are read in the order {_listed(order)}"
            yield "layer-states-mixed", detail, _rows_read(chosen, order)


def _orders(rows: int, directions: int) -> Iterator[tuple[int, ...]]:
    """Wrong orders in which the rows of a state may be read."""
    if rows <= _FEW_ROWS:
        found = list(permutations(range(rows)))[1:]
    else:
        found = [tuple(np.arange(rows).reshape(-1, directions).T.ravel()), tuple(reversed(range(rows)))]
        found += [tuple({a: b, b: a}.get(row, row) for row in range(rows)) for a, b in combinations(range(rows), 2)]
    yield from found
    if rows > 1:
        yield (0,) * rows  # the first layer's state for every layer


def _can_be_swapped(suspect: Suspect) -> bool:
    """Whether there is a c of h's width, which with a projection it has not."""
    contract = suspect.contract
    return contract.cell == "lstm" and contract.projection_size == contract.hidden_size


def _swapped(feeds: Feeds) -> Feeds:
    return {**feeds, "h0": feeds["c0"], "c0": feeds["h0"]}


def _zeroed(names: Sequence[str], row: int | None) -> Callable[[Feeds], Feeds]:
    def fed(feeds: Feeds) -> Feeds:
        changed = {name: feeds[name].copy() for name in names}
        for value in changed.values():
            value[... if row is None else row] = 0
        return {**feeds, **changed}

    return fed


def _rows_read(names: Sequence[str], order: tuple[int, ...]) -> Callable[[Feeds], Feeds]:
    return lambda feeds: {**feeds, **{name: feeds[name][list(order)] for name in names}}


def _exchanged(entry: CaseTruth) -> Mapping[str, Array]:
    return {**entry.truth, "hn": entry.truth["cn"], "cn": entry.truth["hn"]}


def _order_found(suspect: Suspect) -> dict[str, tuple[int, ...]]:
    """By output the rows of the truth that its rows are, where they are others' rows."""
    if suspect.contract.form != "encoder" or not suspect.failing:
        return {}
    widest = max(suspect.failing, key=lambda one: (one.ran, one.batch))
    found: dict[str, tuple[int, ...]] = {}
    for name in ("hn", "cn"):
        if widest.ran and name in widest.failed:
            rows = [_row_like(widest.values[name][row], widest.entry.truth[name]) for row in _rows(widest, name)]
            if rows != list(_rows(widest, name)):
                found[name] = tuple(rows)
    return found


def _rows(observation: Observation, name: str) -> range:
    return range(len(observation.values[name]))


def _row_like(value: Array, truth: Array) -> int:
    return int(np.abs(truth - value).max(axis=(1, 2)).argmin())


def _reordered(order: Mapping[str, tuple[int, ...]]) -> Callable[[CaseTruth], Mapping[str, Array]]:
    def predict(entry: CaseTruth) -> Mapping[str, Array]:
        return {**entry.truth, **{name: entry.truth[name][list(rows)] for name, rows in order.items()}}

    return predict


def _listed(rows: Sequence[int]) -> str:
    return ", ".join(map(str, rows))
