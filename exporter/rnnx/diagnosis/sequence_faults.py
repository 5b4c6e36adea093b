"""Hypotheses about sequences: lengths, the order of time, the halves of output, batch taken for time."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import numpy as np

from rnnx.diagnosis.hypotheses import Hypothesis, Prediction, faulty_model
from rnnx.diagnosis.simulation import Fault, Feeds, Stack, Wiring, simulate
from rnnx.diagnosis.suspect import Suspect
from rnnx.truths.truth import CaseTruth
from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Recurrence

_JOINS = {
    "swapped": "the backward half comes first",
    "reshaped": "the directions' outputs are reshaped without the transpose",
    "alternating": "the units of both directions alternate",
}


def output_halves(suspect: Suspect) -> Iterator[Hypothesis]:
    """The directions' outputs put together wrongly, by the last layer or between the layers."""
    if suspect.contract.directions == 1 or suspect.stack is None:
        return
    for join, words in _JOINS.items():
        for layers, where in _layer_choices(suspect.contract):
            wiring = Wiring(join=join, layers=layers)  # type: ignore[arg-type]  # the keys are the literal's
            yield _wired(suspect, suspect.stack, "output-interleaved", words + where, wiring)


def lengths(suspect: Suspect) -> Iterator[Hypothesis]:
    """Lengths left out of account, by all of a layer or by its backward direction."""
    contract = suspect.contract
    if not contract.lengths or suspect.stack is None:
        return
    for layers, where in _layer_choices(contract):
        ignored = Wiring(lengths="ignored", layers=layers)
        yield _wired(suspect, suspect.stack, "lengths-ignored", f"every row runs to the full time{where}", ignored)
        unmasked = Wiring(lengths="unmasked", layers=layers)
        yield _wired(suspect, suspect.stack, "lengths-ignored", f"output goes on past a row's end{where}", unmasked)
        if contract.directions == 2:
            padding = Wiring(lengths="backward-padding", layers=layers)
            yield _wired(
                suspect, suspect.stack, "backward-padding", f"it starts at the last time step{where}", padding, (1,)
            )


def shifted_lengths(suspect: Suspect) -> Iterator[Hypothesis]:
    """Every length one more or one less than it is, and what a backend may make of a length of 0 then."""
    contract, stack = suspect.contract, suspect.stack
    if not contract.lengths or stack is None:
        return
    for words, change, least, emptied in (
        ("one more than it is, up to the full time", 1, 1, False),
        ("one less than it is, and at least 1", -1, 1, False),
        ("one less than it is", -1, 0, False),
        ("one less than it is, and a row of none ends in zeros", -1, 0, True),
    ):
        predict = _at_other_lengths(stack, contract, change, least, emptied=emptied)
        yield Hypothesis(cause="lengths-shifted", detail=f"each length is {words}", predict=predict)


def order_of_time(suspect: Suspect) -> Iterator[Hypothesis]:
    """A direction, the input or the output in the wrong order of time."""
    contract, stack = suspect.contract, suspect.stack
    if contract.form == "step" or stack is None:
        return
    if contract.directions == 2:
        for layers, where in _layer_choices(contract):
            forward = Wiring(backward="forward", layers=layers)
            yield _wired(suspect, stack, "time-reversed", f"the backward direction runs forward{where}", forward, (1,))
            left = Wiring(backward="left reversed", layers=layers)
            yield _wired(suspect, stack, "time-reversed", f"the backward output is left reversed{where}", left, (1,))
    axis = 1 if contract.batch_first else 0
    for x, output in ((True, False), (False, True), (True, True)):
        words = " and ".join(name for name, turned in (("x", x), ("output", output)) if turned)
        predict = _turned(stack, contract, axis, x=x, output=output)
        yield Hypothesis(cause="time-reversed", detail=f"{words} from the last step to the first", predict=predict)


def layout(suspect: Suspect) -> Iterator[Hypothesis]:
    """The recurrence over the batch axis of x; a backend refuses states whose batch is then not x's."""
    if suspect.contract.form != "encoder" or suspect.stack is None:
        return
    for turned in (False, True):
        predict = _over_the_batch(suspect.stack, suspect.contract, turned=turned)
        detail = "the recurrence runs over the batch axis of x" + (", and output has its axes exchanged" * turned)
        yield Hypothesis(cause="batch-for-time", detail=detail, predict=predict)


def _wired(
    suspect: Suspect, stack: Stack, cause: str, detail: str, wiring: Wiring, directions: Sequence[int] | None = None
) -> Hypothesis:
    contract = suspect.contract
    predict = faulty_model(stack, contract, Fault(wiring=wiring))
    layers = sorted(wiring.layers or range(contract.layers))
    places = tuple(product(layers, directions or range(contract.directions))) if wiring.layers or directions else ()
    return Hypothesis(cause=cause, detail=detail, predict=predict, places=places)


def _layer_choices(contract: Recurrence) -> Iterator[tuple[frozenset[int] | None, str]]:
    """Every layer, each alone, and all but the last."""
    yield None, ""
    if contract.layers > 1:
        yield from ((frozenset([layer]), f" in layer {layer}") for layer in range(contract.layers))
    if contract.layers > 2:
        yield frozenset(range(contract.layers - 1)), " in all layers but the last"


def _at_other_lengths(stack: Stack, contract: Recurrence, change: int, least: int, *, emptied: bool) -> Prediction:
    def predict(entry: CaseTruth) -> Mapping[str, Array]:
        feeds = entry.case.feeds
        time = feeds["x"].shape[1 if contract.batch_first else 0]
        other = np.clip(feeds["lengths"] + change, least, time)
        values = simulate(stack, contract, {**feeds, "lengths": other})
        kept = (other > 0)[:, np.newaxis] if emptied else True
        return {name: value if name == "output" else value * kept for name, value in values.items()}

    return predict


def _turned(stack: Stack, contract: Recurrence, axis: int, *, x: bool, output: bool) -> Prediction:
    def predict(entry: CaseTruth) -> Mapping[str, Array]:
        feeds = entry.case.feeds
        fed = {**feeds, "x": np.flip(feeds["x"], axis)} if x else feeds
        values = simulate(stack, contract, fed)
        return {**values, "output": np.flip(values["output"], axis)} if output else values

    return predict


def _over_the_batch(stack: Stack, contract: Recurrence, *, turned: bool) -> Prediction:
    def predict(entry: CaseTruth) -> Mapping[str, Array] | None:
        fed = _axes_exchanged(entry.case.feeds)
        batch = fed["x"].shape[0 if contract.batch_first else 1]
        if any(value.shape[-2] != batch for name, value in fed.items() if name in ("h0", "c0")):
            return None
        if "lengths" in fed and len(fed["lengths"]) != batch:
            return None
        values = simulate(stack, contract, fed)
        return {**values, "output": values["output"].swapaxes(0, 1)} if turned else values

    return predict


def _axes_exchanged(feeds: Feeds) -> Feeds:
    return {**feeds, "x": feeds["x"].swapaxes(0, 1)}
