"""The files of a verification, read and checked to belong together."""

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rnnx.errors import CheckpointError, EngineError, MissingExtraError, OptionError
from rnnx.linting.message_limits import refuse_swollen
from rnnx.linting.onnx_parsing import parse_onnx
from rnnx.runners.foreign_model import read_foreign_model
from rnnx.runners.like_model import read_like_model
from rnnx.runners.subject import Subject
from rnnx.weights.checkpoint import open_checkpoint
from rnnx.weights.recurrence import RecurrentModule
from rnnx.weights.weights import RecurrentWeights, choose_module, read_weights, surveyed
from rnnx_runtime import (
    Contract,
    ContractError,
    FileDamagedError,
    Recurrence,
)
from rnnx_runtime.contract import Nonlinearity
from rnnx_runtime.files.model_file import LARGEST_ONNX, OnnxFile, PlanFile, checked_onnx, read_plan
from rnnx_runtime.files.regular_file import read_regular
from rnnx_runtime.files.seal import is_sealed

_FUNCTION = b"\xca\x01"
"""What a function of a model's own begins with: field 25 of ModelProto, length-delimited."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The files of a verification, and how to read a model that rnnx did not make.

    `like` is the sealed model that another tool made the file from. `module` is the key prefix of the layer in the
    checkpoint, `names` the graph's tensor for each of the contract's names, `batch_first` the order of its x and
    output, `nonlinearity` a plain RNN's; these four are for a foreign model alone, and `names` for one that was made
    from another.
    """

    checkpoint: Path | None = None
    like: Path | None = None
    engine: Path | None = None
    module: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    batch_first: bool = False
    nonlinearity: Nonlinearity | None = None

    @property
    def says_what_the_file_is(self) -> bool:
        """Whether what a foreign model is has been given, and need not be found out."""
        return bool(self.checkpoint or self.like or self.module or self.names or self.batch_first or self.nonlinearity)


def read_subject(model: Path, sources: Sources, data: bytes | None = None) -> Subject:
    """Read the files and check that the engine and the weights are this model's; `data` are the model's bytes if read.

    Raises:
        FileDamagedError, ContractError: the model or the engine is damaged, or rnnx did not write it and no checkpoint
            says what it is.
        CheckpointError: the checkpoint cannot be read, or its weights are not the model's.
        EngineError: the engine was built from another model.
        OptionError: the model is no .onnx, or an option is for the other kind of model.
    """
    data = read_model_bytes(model) if data is None else data
    if sources.like is not None:
        return _like_subject(model, data, sources, sources.like)
    if sources.checkpoint is not None and not is_sealed(data):
        return _foreign_subject(model, data, sources, sources.checkpoint)
    _refuse_foreign_options(sources, sealed=is_sealed(data))
    if not is_sealed(data):
        raise ContractError(
            str(model),
            got="no rnnx contract in it, and no checkpoint",
            expected="a model that rnnx export wrote, whole, or another exporter's with its weights",
            remedy="give the weights as the checkpoint, or the model of rnnx that it was made from (like); a truncated "
            "copy of a model of rnnx also looks like this",
        )
    refuse_swollen(model, data)  # whoever can write a file can seal it
    file = checked_onnx(model, data)
    if _FUNCTION in data:  # which ONNX Runtime writes out where they are called, without an end if they have none
        with contextlib.suppress(MissingExtraError):
            parse_onnx(model, data)
    is_whole = file.contract.bare is None
    return Subject(
        model=file,
        engine=None if sources.engine is None else _engine_of(file, sources.engine),
        weights=None if sources.checkpoint is None or is_whole else _weights_of(file.contract, sources.checkpoint),
    )


def read_model_bytes(path: Path) -> bytes:
    """The bytes of an .onnx, rnnx's or another's.

    Raises:
        OptionError: the path is of another suffix.
        FileDamagedError: it cannot be read, or is no regular file.
    """
    if path.suffix != ".onnx":
        raise OptionError(
            "the file", got=path.name, expected="an .onnx", remedy="give the .onnx, and its plan as the engine"
        )
    try:
        return read_regular(path, LARGEST_ONNX)
    except OSError as error:
        raise FileDamagedError(
            str(path), got=error.strerror or str(error), expected="a readable file", remedy="check the path"
        ) from None


def _foreign_subject(path: Path, data: bytes, sources: Sources, checkpoint_path: Path) -> Subject:
    _refuse_engine(path, sources)
    proto = parse_onnx(path, data)  # first: a damaged file is told as such, and not as one whose layer nobody chose
    checkpoint = open_checkpoint(checkpoint_path)
    weights = read_weights(checkpoint, choose_module(checkpoint, sources.module))
    foreign = read_foreign_model(
        path,
        data,
        weights,
        checkpoint.name,
        sources.names,
        batch_first=sources.batch_first,
        nonlinearity=sources.nonlinearity,
        proto=proto,
    )
    return Subject(model=foreign.file, engine=None, weights=weights, foreign=foreign)


def _like_subject(path: Path, data: bytes, sources: Sources, like: Path) -> Subject:
    _refuse_engine(path, sources)
    given = {
        "module": sources.module, "batch_first": sources.batch_first, "nonlinearity": sources.nonlinearity
    }  # fmt: skip
    for option, value in given.items():
        if value:
            raise OptionError(
                option,
                got=f"it for a file like {like.name}",
                expected="a model of another exporter",
                remedy="leave it out: the original's own contract says it",
            )
    original = checked_onnx(like, read_model_bytes(like))
    foreign = read_like_model(path, data, original, sources.names)
    is_layer = original.contract.bare is not None
    weights = _weights_of(original.contract, sources.checkpoint) if sources.checkpoint and is_layer else None
    return Subject(model=foreign.file, engine=None, weights=weights, foreign=foreign, like=like)


def _refuse_engine(path: Path, sources: Sources) -> None:
    if sources.engine is not None:
        raise OptionError(
            "engine",
            got=f"one for {path.name}, which rnnx did not make",
            expected="no engine",
            remedy="the row tensorrt-network says what TensorRT understands of the file",
        )


def refuse_beside_module(sources: Sources) -> None:
    """Refuse what says how a file is a checkpoint's layer where its truth is a module; raises OptionError."""
    for option, value in _options_of_layers(sources).items():
        if value:
            raise OptionError(
                option,
                got="it beside a module",
                expected="it for a layer of a checkpoint",
                remedy="leave it out: the module is called with the file's inputs by their names, or in their order",
            )


def _options_of_layers(sources: Sources) -> dict[str, object]:
    return {
        "module": sources.module,
        "names": sources.names,
        "batch_first": sources.batch_first,
        "nonlinearity": sources.nonlinearity,
    }


def _refuse_foreign_options(sources: Sources, *, sealed: bool) -> None:
    for option, value in _options_of_layers(sources).items():
        if value and sealed:
            raise OptionError(
                option,
                got="it for a model of rnnx",
                expected="a model of another exporter",
                remedy="leave it out: the model's own contract says it",
            )
        if value:
            raise OptionError(
                option,
                got="no checkpoint",
                expected="the weights that the model was exported from",
                remedy="give them as the checkpoint",
            )


def _engine_of(model: OnnxFile, path: Path) -> PlanFile:
    if path.suffix != ".plan":
        raise OptionError("engine", got=path.name, expected="a .plan", remedy="build one with rnnx build-engine")
    engine = read_plan(path)
    _check_engine(engine, model)
    return engine


def _check_engine(engine: PlanFile, model: OnnxFile) -> None:
    """Refuse an engine that was built from another model, with EngineError."""
    actual = hashlib.sha256(model.data).hexdigest()
    if engine.sidecar.onnx_sha256 != actual:
        raise EngineError(
            f"engine {engine.path.name}",
            got=f"one built from an ONNX with sha256 {engine.sidecar.onnx_sha256[:12]}…",
            expected=f"{actual[:12]}…, which is {model.path.name}",
            remedy="build the engine again from this model, or give the model it was built from",
        )
    if engine.contract != model.contract:
        raise EngineError(
            f"sidecar of {engine.path.name}",
            got="another contract than its model's",
            expected=f"the contract in {model.path.name}",
            remedy="the sidecar was edited: build the engine again",
        )


def _weights_of(contract: Contract, path: Path) -> RecurrentWeights:
    """The model's own weights in a checkpoint, under the key prefix they were exported from or another."""
    checkpoint = open_checkpoint(path)
    modules = [module for module in surveyed(checkpoint).modules if _could_be(module, contract.layer())]
    modules.sort(key=lambda module: module.prefix != contract.source.module)  # its own prefix first
    found = [read_weights(checkpoint, module) for module in modules]
    for weights in found:
        if weights.sha256 == contract.source.weights_sha256:
            return weights
    digests = ", ".join(f"{w.module.shown_prefix} with sha256 {w.sha256[:12]}…" for w in found)
    layer = contract.layer()
    kind = "cell" if layer.form != "encoder" else "layer"
    raise CheckpointError(
        f"checkpoint {path.name}",
        got=f"weights {digests}" if found else f"no {layer.cell.upper()} {kind} of the model's sizes",
        expected=f"weights with sha256 {contract.source.weights_sha256[:12]}…, which the model holds",
        remedy="give the checkpoint this model was exported from, or export again",
    )


def _could_be(module: RecurrentModule, layer: Recurrence) -> bool:
    sizes = ("input_size", "hidden_size", "projection_size", "layers", "directions")
    same_form = (module.kind, module.is_cell) == (layer.cell, layer.form != "encoder")
    return same_form and all(getattr(module, size) == getattr(layer, size) for size in sizes)
