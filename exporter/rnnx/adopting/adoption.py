"""From another exporter's .onnx to a sealed model with a contract and golden values: read, tried out, written."""

import contextlib
import hashlib
import os
from dataclasses import replace
from pathlib import Path

from rnnx.adopting.adopt_options import AdoptOptions
from rnnx.adopting.adopt_report import AdoptReport
from rnnx.adopting.adoption_notes import doctor_line, inputs_to_fix, joined_notes
from rnnx.adopting.foreign_graph import put_under_contract
from rnnx.adopting.foreign_runs import ForeignRuns
from rnnx.adopting.given_truth import checked_values, layer_of, opened_truth
from rnnx.adopting.reading import Reading, read_recurrent, weights_digest
from rnnx.adopting.trying import Tried, tried
from rnnx.adopting.writing import take_in, write_adopted
from rnnx.artifacts import staged
from rnnx.errors import AdoptionError, OptionError
from rnnx.extras import require
from rnnx.graphs.engine_notes import engine_notes
from rnnx.graphs.model_targets import check_model_target
from rnnx.linting.examination import examine
from rnnx.linting.outside_files import outside_files
from rnnx.linting.rules.scopes import scopes_of
from rnnx.truths.golden import golden_path
from rnnx.truths.model_golden import ModelTruth, model_golden_bytes, model_truth
from rnnx_runtime.errors import FileDamagedError
from rnnx_runtime.files.external_data import external_tensors
from rnnx_runtime.files.model_file import LARGEST_ONNX, OnnxFile, bytes_of
from rnnx_runtime.files.seal import check_seal, is_sealed


def adopt(
    path: str | os.PathLike[str], output: str | os.PathLike[str], options: AdoptOptions | None = None
) -> AdoptReport:
    """Make a model of rnnx of any recurrent .onnx: find out what it is by its graph and by running it, and seal it.

    The weights and the calculation stay as they are. Every guess is tried in ONNX Runtime: free dims at other sizes,
    states by chunks against the whole, lengths by cut rows. The golden values are those of PyTorch in float64 where the
    options give a layer's checkpoint or a module, and the file must equal them; else they are ONNX Runtime's in
    float32, and the contract says so.

    Args:
        path: the file; external data lies beside it.
        output: the .onnx to write; `<name>.golden.npz` is written beside it.
        options: what the caller says of the file.

    Raises:
        FileDamagedError: no whole ONNX file, or external data that is missing or lies outside the file's folder.
        AdoptionError: nothing recurrent in it, it runs at no size that was tried, or a state or lengths that the caller
            named do not hold; it gives other values than the layer or module that it is said to be; or it is a model of
            rnnx already.
        OptionError: an option names what the file does not have.
        CheckpointError: the checkpoint cannot be read, or holds another layer.
        FactoryError: the factory fails, or its module is not called as the file is.
        BackendError: ONNX Runtime does not open the file.
        OutputError: the files could not be written.
        MissingExtraError: the package onnx or onnxruntime is not installed.
    """
    path, target, options = Path(path), Path(output), options or AdoptOptions()
    check_model_target(target, inputs=(path,))
    for package, extra in (("onnx", "doctor"), ("onnxruntime", "cpu")):
        require(package, extra=extra, purpose="adopting a file")
    return _written(*_tried_out(path, options), target)


def _tried_out(path: Path, options: AdoptOptions) -> tuple[Reading, Tried, ModelTruth, str]:
    """What a file is, by its graph and by running it; its bytes and its process are gone afterwards."""
    data = bytes_of(path, LARGEST_ONNX)
    _refuse_own(path, data)
    reading, file = _opened(read_recurrent(path, data, options), data, changed=bool(options.constants))
    layer = layer_of(file, options)
    runs = ForeignRuns(file, reading.theirs, [spec.name for spec in reading.contract.outputs])
    with contextlib.closing(runs):
        found = tried(reading, runs, options)
        with opened_truth(reading, runs, found, layer, options) as given:
            truth = model_truth(given.model, given.contract, found.example)
        return reading, replace(found, contract=given.contract), truth, given.title


def _written(reading: Reading, found: Tried, truth: ModelTruth, title: str, target: Path) -> AdoptReport:
    golden = model_golden_bytes(truth, found.contract.source.weights_sha256)
    contract = replace(found.contract, golden_sha256=hashlib.sha256(golden).hexdigest())
    put_under_contract(reading.proto, contract, reading.theirs)
    with staged(target) as stage:
        written = stage / target.name
        golden_path(written).write_bytes(golden)
        nodes = write_adopted(written, reading.proto, contract, reading.path.parent)
        size = sum(file.stat().st_size for file in stage.iterdir() if file.name != golden_path(written).name)
        findings = examine(reading.proto)
        checks = (doctor_line(findings), checked_values(written, truth, contract, reading.path, title))
    fixed = inputs_to_fix(contract, reading.compared)
    renamed = tuple(f"{theirs!r} of the file is {ours} here" for theirs, ours in reading.renamed.items())
    left_out = tuple(f"no golden values at {text}" for text in truth.left_out)
    return AdoptReport(
        path=target,
        golden=golden_path(target),
        source=str(reading.path),
        contract=contract,
        states=found.states,
        proofs=found.proofs,
        notes=(*found.notes, *reading.open_states, *fixed, *renamed, *left_out, *joined_notes(engine_notes(findings))),
        checks=checks,
        nodes=nodes,
        bytes=size,
    )


def _opened(reading: Reading, data: bytes, *, changed: bool) -> tuple[Reading, OnnxFile]:
    """The file as a session opens it, after all that it names beside it was found there and, where it fits, read.

    Raises:
        FileDamagedError: external data is missing or outside the file's folder.
        OptionError: inputs are fixed in a graph that does not fit into one protobuf.
    """
    outside = outside_files(reading.path, data)
    if not outside and not changed:
        return reading, OnnxFile(path=reading.path, contract=reading.contract, data=data, external_data=None)
    for file in outside:
        if not file.is_file():
            raise FileDamagedError(
                str(file),
                got="no such file",
                expected=f"the external data of {reading.path.name}",
                remedy="copy it along with the model",
            )
    is_whole = take_in(reading.proto, reading.path.parent)
    if not is_whole and changed:
        raise OptionError(
            "constants",
            got="a file of more than 2 GiB",
            expected="one that fits into a protobuf",
            remedy="keep the input, or fix it in the graph before",
        )
    source = replace(reading.contract.source, weights_sha256=weights_digest(scopes_of(reading.proto)))
    reading = replace(reading, contract=replace(reading.contract, source=source))
    own = reading.proto.SerializeToString() if is_whole else data
    external = None if is_whole else outside[0]
    if is_whole:
        _refuse_hidden(reading.path, own)
    return reading, OnnxFile(path=reading.path, contract=reading.contract, data=own, external_data=external)


def _refuse_hidden(path: Path, data: bytes) -> None:
    """Refuse values in other files where no exporter puts them: a session opens whatever the file names."""
    try:
        found = external_tensors(data)
    except ValueError as error:
        raise FileDamagedError(
            str(path), got=str(error), expected="a graph as ONNX defines it", remedy="export it again"
        ) from None
    if found:
        raise FileDamagedError(
            str(path),
            got=f"external data at {found[0].location[:200]!r} for a value inside a node",
            expected="external data of weights and constants alone",
            remedy="export it again with its constants inside",
        )


def _refuse_own(path: Path, data: bytes) -> None:
    if not is_sealed(data):
        return
    try:
        check_seal(data, str(path))
        got, remedy = "a model of rnnx, sealed already", "use it as it is, or adopt the file that it was made of"
    except FileDamagedError:
        got, remedy = "a model of rnnx that was changed since it was sealed", "copy it anew, or export it again"
    raise AdoptionError(str(path), got=got, expected="a file of another exporter", remedy=remedy)
