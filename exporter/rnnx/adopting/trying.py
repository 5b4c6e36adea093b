"""What of a foreign file's reading holds when it runs: sizes, states, lengths, rows."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version

from rnnx.adopting.adopt_options import AdoptOptions
from rnnx.adopting.adoption_notes import proofs_of
from rnnx.adopting.example_search import FoundExample, found_example
from rnnx.adopting.foreign_runs import ForeignRuns
from rnnx.adopting.free_dims import SizeTrials, more_runs, renamed_dim, settled_dims
from rnnx.adopting.length_proofs import why_no_lengths
from rnnx.adopting.output_sizes import with_output_sizes
from rnnx.adopting.reading import Reading
from rnnx.adopting.recurrent_parts import listed
from rnnx.adopting.state_proofs import proved_states
from rnnx.adopting.trial_values import trial_values
from rnnx.adopting.window_sizes import window_check
from rnnx.errors import AdoptionError
from rnnx.extras import require
from rnnx.proofs.row_proof import batching_of
from rnnx.proofs.running_model import CLOSE_IN_FLOAT32, RunningModel
from rnnx.proofs.streaming_proof import streaming_of
from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Batching, Contract

_RANDOM = (
    "Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
)  # fmt: skip
"""Operators that draw numbers, or may."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What running the file has shown."""

    contract: Contract
    example: Mapping[str, Array]
    states: tuple[str, ...]
    proofs: tuple[str, ...]
    notes: tuple[str, ...]


def tried(reading: Reading, runs: ForeignRuns, options: AdoptOptions) -> Tried:
    """Run a file at sizes that it takes, and keep of its reading what holds.

    Raises:
        AdoptionError: it runs at no size that was tried, or a state or lengths that the caller named do not hold.
    """
    values = trial_values(reading, options.values)
    read = reading.contract
    windows = window_check(reading.proto)

    def fits(feeds: Mapping[str, Array]) -> bool:
        return windows({reading.theirs[name]: value.shape for name, value in feeds.items()})

    first = found_example(runs, read, values, _given_sizes(reading, options), reading.path.name, fits)
    model = RunningModel(run=runs.outputs, name=runs.name, close=CLOSE_IN_FLOAT32)
    _refuse_random(model, reading, first)
    read, misfits = _without_misfits(reading, read, first, options)
    trials = SizeTrials(runs=runs, contract=read, values=values, example=first, fits=fits)
    settled = settled_dims(trials)
    more_runs(trials, settled.contract, settled.sizes)
    contract, notes = with_output_sizes(settled.contract, runs.seen), [*misfits, *settled.notes]
    contract, more = _with_proved_time(model, reading, contract, first)
    contract, lengths, length_notes = _proved_lengths(model, contract, first, options)
    pairs = {pair.input for pair in contract.states}
    states = proved_states(model, contract, first.feeds, [own for own in reading.states if own.pair.input in pairs])
    contract = with_output_sizes(states.contract, runs.seen)
    contract = replace(contract, batching=_batching(model, contract, first.feeds))
    ranges = [f"{dim} is {own}" for dim, own in contract.ranges.items()]
    return Tried(
        contract=_complete(reading, contract),
        example=first.feeds,
        states=tuple(own.shown for own in states.states),
        proofs=(*proofs_of(contract, first.feeds), *lengths),
        notes=(*notes, *more, *ranges, *length_notes, *states.notes),
    )


def _refuse_random(model: RunningModel, reading: Reading, first: FoundExample) -> None:
    """Refuse a file that has no values to prove anything by: two calls with the same inputs give others."""
    again = model.run(first.feeds)
    name = next((name for name, value in first.outputs.items() if not model.alike(again[name], value)), None)
    if name is None:
        return
    drawing = {own: count for own, count in reading.operators.items() if own in _RANDOM}
    raise AdoptionError(
        f"output {name!r} of {reading.path.name}",
        got=f"other values in two calls with the same inputs{f', from {listed(drawing)}' if drawing else ''}",
        expected="values that follow from the inputs",
        remedy="make what is drawn an input, or export it again without (in evaluation mode)",
    )


def _given_sizes(reading: Reading, options: AdoptOptions) -> dict[str, int]:
    """The sizes that the caller says, by the names of dims here."""
    ours = {called: own for own, called in reading.guessed.items()} | dict(reading.called)
    return {ours.get(name, name): size for name, size in options.sizes.items()}


def _without_misfits(
    reading: Reading, contract: Contract, first: FoundExample, options: AdoptOptions
) -> tuple[Contract, list[str]]:
    """The contract without pairs whose output came in another shape than the input has; a named one is an error."""
    kept, notes = [], []
    for state in reading.states:
        got, given = first.outputs[state.pair.output].shape, first.feeds[state.pair.input].shape
        if got == given:
            kept.append(state.pair)
        elif state.evidence == "given":
            raise AdoptionError(
                f"state {state.pair.input}={state.pair.output}",
                got=f"an output of the shape {got} for an input of {given}",
                expected="one shape, since the next call takes what this one gives",
                remedy="name another output",
            )
        else:
            notes.append(f"no state: {state.shown}: the output has the shape {got}, the input {given}")
    return replace(contract, states=tuple(kept)), notes


def _with_proved_time(
    model: RunningModel, reading: Reading, contract: Contract, first: FoundExample
) -> tuple[Contract, list[str]]:
    """The contract with the axis of time that chunks bear out, where the graph itself does not tell which it is.

    A dim that is called like one and that chunks do not bear out keeps its own name.
    """
    notes = list[str]()
    if not contract.states or ("T" in contract.free_dims and "T" not in reading.guessed):
        return contract, notes
    if "T" in contract.free_dims:
        streaming = streaming_of(model, contract, first.feeds, {})
        if streaming.kind == "exact":
            return contract, notes
        name = reading.guessed["T"]
        name = "D" if name in ("B", "T", *contract.free_dims) else name
        contract = renamed_dim(contract, "T", name)
        why = f"its chunks give other values than the whole ({streaming.reason[:120]})"
        notes.append(f"{name} is not taken for the time: {why}, so each call is one step")
    plain = dict.fromkeys(dim for spec in contract.plain_inputs for dim in spec.dims if isinstance(dim, str))
    for dim in (dim for dim in plain if dim in contract.free_dims and dim != "B"):
        other = renamed_dim(contract, dim, "T")
        if streaming_of(model, other, first.feeds, {}).kind == "exact":
            return other, [*notes, f"{dim} is the time: its chunks give what the whole gives"]
    return contract, notes


def _proved_lengths(
    model: RunningModel, contract: Contract, first: FoundExample, options: AdoptOptions
) -> tuple[Contract, list[str], list[str]]:
    """Lengths that hold, and what was found of the others: named ones must, those of the graph are lengths anyway."""
    proofs, notes = list[str](), list[str]()
    for name in contract.lengths:
        why = why_no_lengths(model, contract, first.feeds, name)
        if why and name in options.lengths:
            raise AdoptionError(
                f"lengths {name}",
                got=f"an input that does not say how long rows are: {why}",
                expected="rows with padding that give what the rows cut there give",
                remedy="leave it out: it is an input like any other then",
            )
        if why:
            notes.append(f"lengths {name}: {why}")
        else:
            proofs.append(f"lengths {name}: rows with padding give what the rows cut there give")
    return contract, proofs, notes


def _batching(model: RunningModel, contract: Contract, example: Mapping[str, Array]) -> Batching:
    if "B" in contract.ranges and contract.ranges["B"].min > 1:
        return Batching(rows="unknown", padding="unknown", reason="the file takes no row alone")
    return batching_of(model, contract, example)


def _complete(reading: Reading, contract: Contract) -> Contract:
    versions = {name: version(name) for name in ("rnnx", "onnx")}
    onnxruntime = require("onnxruntime", extra="cpu", purpose="adopting a file")
    own = {**versions, "onnxruntime": str(onnxruntime.__version__), "opset": reading.contract.versions["opset"]}
    producer = reading.contract.versions["producer"]
    named = {**own, "producer": producer} if producer else own
    return replace(contract, versions=named, truth="onnxruntime-float32")
