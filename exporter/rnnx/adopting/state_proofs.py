"""The states of a foreign file, each pair tried: chunks against the whole, and whether anything depends on it."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rnnx.adopting.state_pairs import FoundState
from rnnx.errors import AdoptionError
from rnnx.proofs.running_model import RunningModel
from rnnx.proofs.streaming_proof import streaming_of
from rnnx.truths.model_cases import CaseSource, drawn_case
from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Contract, StatePair, Streaming
from rnnx_runtime.errors import RnnxError

_MOST_SWAPPED = 4
"""Pairs of one shape up to which every order is tried."""


@dataclass(frozen=True, kw_only=True)
class ProvedStates:
    """The contract with the states that hold and how they stream; `states` with what was found of each; and notes."""

    contract: Contract
    states: tuple[FoundState, ...]
    notes: tuple[str, ...]


def proved_states(
    model: RunningModel, contract: Contract, example: Mapping[str, Array], found: Sequence[FoundState]
) -> ProvedStates:
    """Drop the pairs that do not hold, and say why.

    Args:
        model: the file, running.
        contract: its inputs, outputs and states, dims settled.
        example: a call that it takes.
        found: what speaks for each pair of the contract.

    Raises:
        AdoptionError: a pair that the caller named does not hold.
    """
    kept, notes = list[FoundState](), list[str]()
    for state in found:
        why = _why_none(model, contract, example, state.pair)
        if why:
            notes.append(_dropped(state, why))
        else:
            kept.append(state)
    contract = with_states(contract, kept)
    streaming = _streaming(model, contract, example)
    if streaming.kind == "chunked":
        kept, streaming, more = _mended(model, contract, example, kept, streaming)
        notes += more
    return ProvedStates(
        contract=replace(with_states(contract, kept), streaming=streaming), states=tuple(kept), notes=tuple(notes)
    )


def with_states(contract: Contract, states: Sequence[FoundState]) -> Contract:
    """The contract with these states alone; their outputs have the dims of their inputs."""
    return replace(contract, states=tuple(state.pair for state in states))


def _streaming(model: RunningModel, contract: Contract, example: Mapping[str, Array]) -> Streaming:
    return streaming_of(model, contract, example, {})


def _why_none(model: RunningModel, contract: Contract, example: Mapping[str, Array], pair: StatePair) -> str:
    """What speaks against a pair even in one call: nothing depends on the input, or the output on nothing."""
    source = CaseSource(contract=contract, example=example)
    feeds, others = ({**drawn_case(source, source.sizes, seed).feeds} for seed in (0, 1))
    others[pair.input] = _other(feeds[pair.input], others[pair.input])
    try:
        whole = model.run(feeds)
        reads_state = any(_reads(model, own, pair, others[pair.input]) for own in (feeds, _flipped(feeds)))
        with_other_inputs = model.run(others)
    except RnnxError:
        return ""  # a call that the file does not take says nothing of the pair
    if whole[pair.output].shape != feeds[pair.input].shape:
        return (
            f"{pair.output} has the shape {whole[pair.output].shape} where {pair.input} has {feeds[pair.input].shape}"
        )
    if not reads_state:
        return f"no output depends on {pair.input}"
    return f"{pair.output} depends on no input" if _equal(with_other_inputs[pair.output], whole[pair.output]) else ""


def _reads(model: RunningModel, feeds: Mapping[str, Array], pair: StatePair, other: Array) -> bool:
    """Whether another state gives anything else."""
    whole, changed = model.run(feeds), model.run({**feeds, pair.input: other})
    return not all(_equal(changed[name], value) for name, value in whole.items())


def _flipped(feeds: Mapping[str, Array]) -> dict[str, Array]:
    """The inputs with their flags the other way round: one that is set may put zeros in the place of a state."""
    return {name: ~value if value.dtype.kind == "b" else value for name, value in feeds.items()}


def _other(value: Array, drawn: Array) -> Array:
    """A state that is not this one: integers, such as a counter, are drawn so close together that they may be equal."""
    if not _equal(value, drawn):
        return drawn
    return ~value if value.dtype.kind == "b" else value + np.ones((), value.dtype)


def _equal(value: Array, other: Array) -> bool:
    return np.array_equal(value, other, equal_nan=value.dtype.kind == "f")


def _mended(
    model: RunningModel,
    contract: Contract,
    example: Mapping[str, Array],
    states: Sequence[FoundState],
    streaming: Streaming,
) -> tuple[list[FoundState], Streaming, list[str]]:
    """Other orders of states of one shape, or fewer guesses, until chunks give the whole; else without bare guesses."""
    for other, note in (*_orders(contract, states), *_without_guesses(states)):
        found = _streaming(model, with_states(contract, other), example)
        if found.kind == "exact":
            return list(other), found, note
    given = [state for state in states if state.evidence == "given"]
    if given:
        raise _unproved(given[0], streaming.reason)
    guesses = [state for state in states if state.evidence == "names"]
    kept = [state for state in states if state not in guesses]
    if not guesses:
        return kept, streaming, []
    found = _streaming(model, with_states(contract, kept), example)
    return kept, found, [_dropped(state, streaming.reason) for state in guesses]


def _orders(contract: Contract, states: Sequence[FoundState]) -> Iterator[tuple[Sequence[FoundState], list[str]]]:
    """The pairs with the outputs of those of one shape in every other order, but for pairs that the caller named."""
    specs = {spec.name: (spec.dtype, spec.dims) for spec in contract.inputs}
    shape: Callable[[FoundState], str] = lambda state: repr(specs[state.pair.input])  # noqa: E731
    free = sorted((state for state in states if state.evidence != "given"), key=shape)
    for _, group in itertools.groupby(free, key=shape):
        own = list(group)
        for outputs in (
            itertools.permutations([state.pair.output for state in own]) if len(own) <= _MOST_SWAPPED else ()
        ):
            pairs = [StatePair(input=state.pair.input, output=name) for state, name in zip(own, outputs, strict=True)]
            if pairs == [state.pair for state in own]:
                continue
            swapped = {
                state.pair.input: replace(state, pair=pair, why=f"{state.why}, in the order that chunks prove")
                for state, pair in zip(own, pairs, strict=True)
            }
            listed = ", ".join(f"{pair.input} → {pair.output}" for pair in pairs)
            note = f"the states are {listed}: in the order of their names chunks give other values than the whole"
            yield [swapped.get(state.pair.input, state) for state in states], [note]


def _without_guesses(states: Sequence[FoundState]) -> Iterator[tuple[Sequence[FoundState], list[str]]]:
    guesses = [state for state in states if state.evidence == "names"]
    for dropped in ([own] for own in guesses):
        kept = [state for state in states if state not in dropped]
        if kept:
            why = "with it chunks give other values than the whole, and without it the same"
            yield kept, [_dropped(state, why) for state in dropped]


def _dropped(state: FoundState, why: str) -> str:
    """A note on a guess; a pair that the caller named is an error."""
    if state.evidence == "given":
        raise _unproved(state, why)
    return f"no state: {state.shown}: {why}"


def _unproved(state: FoundState, why: str) -> AdoptionError:
    return AdoptionError(
        f"state {state.pair.input}={state.pair.output}",
        got=f"a pair that does not hold: {why}",
        expected="an output that the next call takes, so that chunks give what the whole gives",
        remedy="name another output, or leave the pair out and see what is found",
    )
