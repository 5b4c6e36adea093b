"""From another exporter's .onnx to a sealed model with a contract and golden values: read, tried out, written."""

import contextlib
import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from rnnx.adopting.adopt_options import AdoptOptions
from rnnx.adopting.adopt_report import AdoptReport
from rnnx.adopting.example_search import FoundExample, found_example
from rnnx.adopting.foreign_graph import put_under_contract
from rnnx.adopting.foreign_runs import ForeignRuns
from rnnx.adopting.free_dims import SizeTrials, more_runs, settled_dims
from rnnx.adopting.length_proofs import why_no_lengths
from rnnx.adopting.output_sizes import with_output_sizes
from rnnx.adopting.reading import Reading, read_recurrent
from rnnx.adopting.state_proofs import proved_states
from rnnx.adopting.trial_values import trial_values
from rnnx.adopting.writing import write_adopted
from rnnx.artifacts import staged
from rnnx.errors import AdoptionError
from rnnx.extras import require
from rnnx.graphs.engine_notes import engine_notes
from rnnx.graphs.model_targets import check_model_target
from rnnx.graphs.value_checks import check_values
from rnnx.linting.examination import examine
from rnnx.linting.findings import Finding
from rnnx.linting.outside_files import outside_files
from rnnx.proofs.row_proof import batching_of
from rnnx.proofs.running_model import CLOSE_IN_FLOAT32, RunningModel
from rnnx.proofs.streaming_proof import streaming_of
from rnnx.truths.golden import golden_path
from rnnx.truths.model_golden import ModelTruth, model_golden_bytes, model_truth
from rnnx_runtime.array_type import Array
from rnnx_runtime.arrays.dim_sizes import sizes_from_feeds
from rnnx_runtime.contract import Contract
from rnnx_runtime.errors import FileDamagedError
from rnnx_runtime.files.model_file import LARGEST_ONNX, OnnxFile, bytes_of
from rnnx_runtime.files.seal import is_sealed


def adopt(
    path: str | os.PathLike[str], output: str | os.PathLike[str], options: AdoptOptions | None = None
) -> AdoptReport:
    """Make a model of rnnx of any recurrent .onnx: find out what it is by its graph and by running it, and seal it.

    The weights and the calculation stay as they are. Every guess is tried in ONNX Runtime: free dims at other sizes,
    states by chunks against the whole, lengths by cut rows. The golden values are ONNX Runtime's in float32, for there
    is no other truth; the contract says so.

    Args:
        path: the file; external data lies beside it.
        output: the .onnx to write; `<name>.golden.npz` is written beside it.
        options: what the caller says of the file.

    Raises:
        FileDamagedError: no whole ONNX file, or external data that is missing or lies outside the file's folder.
        AdoptionError: nothing recurrent in it, it runs at no size that was tried, or a state or lengths that the caller
            named do not hold; or it is a model of rnnx already.
        OptionError: an option names what the file does not have.
        BackendError: ONNX Runtime does not open the file.
        OutputError: the files could not be written.
        MissingExtraError: the package onnx or onnxruntime is not installed.
    """
    path, target, options = Path(path), Path(output), options or AdoptOptions()
    check_model_target(target, inputs=(path,))
    for package, extra in (("onnx", "doctor"), ("onnxruntime", "cpu")):
        require(package, extra=extra, purpose="adopting a file")
    data = bytes_of(path, LARGEST_ONNX)
    _refuse_own(path, data)
    reading = read_recurrent(path, data, options)
    file = _file(reading, data)
    runs = ForeignRuns(file, reading.theirs, [spec.name for spec in reading.contract.outputs])
    with contextlib.closing(runs):
        found = _tried(reading, runs, options)
        truth = model_truth(runs, found.contract, found.example)
        return _written(reading, found, truth, target)


@dataclass(frozen=True, kw_only=True)
class _Tried:
    """What running the file has shown."""

    contract: Contract
    example: Mapping[str, Array]
    states: tuple[str, ...]
    proofs: tuple[str, ...]
    notes: tuple[str, ...]


def _tried(reading: Reading, runs: ForeignRuns, options: AdoptOptions) -> _Tried:
    values = trial_values(reading, options.values)
    read = reading.contract
    first = found_example(runs, read, values, _given_sizes(reading, options), reading.path.name)
    read, misfits = _without_misfits(reading, read, first, options)
    trials = SizeTrials(runs=runs, contract=read, values=values, example=first)
    settled = settled_dims(trials)
    more_runs(trials, settled.contract, settled.sizes)
    contract, notes = with_output_sizes(settled.contract, runs.seen), [*misfits, *settled.notes]
    model = RunningModel(run=runs.outputs, name=runs.name, close=CLOSE_IN_FLOAT32)
    contract, more = _without_guessed_time(model, reading, contract, first)
    contract, lengths, length_notes = _proved_lengths(model, contract, first, options)
    pairs = {pair.input for pair in contract.states}
    states = proved_states(model, contract, first.feeds, [own for own in reading.states if own.pair.input in pairs])
    contract = with_output_sizes(states.contract, runs.seen)
    contract = replace(contract, batching=batching_of(model, contract, first.feeds))
    ranges = [f"{dim} is {own}" for dim, own in contract.ranges.items()]
    return _Tried(
        contract=_complete(reading, contract),
        example=first.feeds,
        states=tuple(own.shown for own in states.states),
        proofs=(*_proofs(contract, first.feeds), *lengths),
        notes=(*notes, *more, *ranges, *length_notes, *states.notes),
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


def _without_guessed_time(
    model: RunningModel, reading: Reading, contract: Contract, first: FoundExample
) -> tuple[Contract, list[str]]:
    """A dim that its name alone says to be the time, and that chunks do not bear out, keeps the name that it had."""
    if "T" not in reading.guessed or "T" not in contract.free_dims or not contract.states:
        return contract, []
    streaming = streaming_of(model, contract, first.feeds, {})
    if streaming.kind == "exact":
        return contract, []
    name = reading.guessed["T"]
    if name in ("B", "T", *contract.free_dims):
        name = "D"
    inputs, outputs = (
        tuple(replace(spec, dims=tuple(name if dim == "T" else dim for dim in spec.dims)) for spec in side)
        for side in (contract.inputs, contract.outputs)
    )
    ranges = {name if dim == "T" else dim: own for dim, own in contract.ranges.items()}
    why = f"its chunks give other values than the whole ({streaming.reason})"
    note = f"{name} is not taken for the time: {why}, so each call is one step"
    return replace(contract, inputs=inputs, outputs=outputs, ranges=ranges), [note]


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


def _proofs(contract: Contract, example: Mapping[str, Array]) -> tuple[str, ...]:
    found = []
    if contract.free_dims:
        sizes = sizes_from_feeds(contract.inputs, example)
        listed = ", ".join(f"{dim} = {size}" for dim, size in sizes.items())
        found.append(f"free dims: run at {listed} and at other sizes of each")
    if contract.states and contract.streaming.kind == "exact":
        is_step = "T" not in contract.free_dims
        told = (
            "each call is one step, and what it gives depends on them"
            if is_step
            else "chunks give what the whole gives"
        )
        found.append(f"states: {told}")
    return tuple(found)


def _complete(reading: Reading, contract: Contract) -> Contract:
    versions = {name: version(name) for name in ("rnnx", "onnx")}
    onnxruntime = require("onnxruntime", extra="cpu", purpose="adopting a file")
    own = {**versions, "onnxruntime": str(onnxruntime.__version__), "opset": reading.contract.versions["opset"]}
    producer = reading.contract.versions["producer"]
    named = {**own, "producer": producer} if producer else own
    return replace(contract, versions=named, truth="onnxruntime-float32")


def _written(reading: Reading, found: _Tried, truth: ModelTruth, target: Path) -> AdoptReport:
    golden = model_golden_bytes(truth, found.contract.source.weights_sha256)
    contract = replace(found.contract, golden_sha256=hashlib.sha256(golden).hexdigest())
    put_under_contract(reading.proto, contract, reading.theirs)
    with staged(target) as stage:
        written = stage / target.name
        golden_path(written).write_bytes(golden)
        nodes = write_adopted(written, reading.proto, contract, reading.path.parent)
        size = sum(file.stat().st_size for file in stage.iterdir() if file.name != golden_path(written).name)
        findings = examine(reading.proto)
        checks = (_doctor(findings), check_values(written, truth.entries, contract))
    renamed = tuple(f"{theirs!r} of the file is {ours} here" for theirs, ours in reading.renamed.items())
    left_out = tuple(f"no golden values at {text}" for text in truth.left_out)
    return AdoptReport(
        path=target,
        golden=golden_path(target),
        source=str(reading.path),
        contract=contract,
        states=found.states,
        proofs=found.proofs,
        notes=(*found.notes, *renamed, *left_out, *engine_notes(findings)),
        checks=checks,
        nodes=nodes,
        bytes=size,
    )


def _doctor(findings: Sequence[Finding]) -> str:
    """The findings as one line, each rule once."""
    counts = Counter(f"{own.severity} {own.rule}" for own in findings)
    return f"rnnx doctor: {', '.join(f'{count} {rule}' for rule, count in counts.items()) or 'nothing found'}"


def _file(reading: Reading, data: bytes) -> OnnxFile:
    """The file as a session opens it, after all that it names beside it was found to be there."""
    outside = outside_files(reading.path, reading.proto)
    for file in outside:
        if not file.is_file():
            raise FileDamagedError(
                str(file),
                got="no such file",
                expected=f"the external data of {reading.path.name}",
                remedy="copy it along with the model",
            )
    return OnnxFile(path=reading.path, contract=reading.contract, data=data, external_data=next(iter(outside), None))


def _refuse_own(path: Path, data: bytes) -> None:
    if is_sealed(data):
        raise AdoptionError(
            str(path),
            got="a model of rnnx, sealed already",
            expected="a file of another exporter",
            remedy="use it as it is, or adopt the file that it was made of",
        )
