"""What a verification is about: one model, its engine and its weights, checked to belong together."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from rnnx.errors import CheckpointError, EngineError, OptionError
from rnnx.linting.onnx_parsing import parse_onnx
from rnnx.runners.candidates import Candidate, SessionCandidate
from rnnx.runners.foreign_model import ForeignModel, read_foreign_model
from rnnx.runners.row_names import PYTORCH_ROWS
from rnnx.tensorrt_network.network_row import NETWORK_ROW
from rnnx.weights.checkpoint import open_checkpoint
from rnnx.weights.recurrence import RecurrentModule
from rnnx.weights.weights import RecurrentWeights, choose_module, read_weights, surveyed
from rnnx_runtime import (
    BackendName,
    BackendUnavailable,
    Contract,
    ContractError,
    FileDamagedError,
    Recurrence,
    TensorSpec,
)
from rnnx_runtime.files.model_file import LARGEST_ONNX, OnnxFile, PlanFile, checked_onnx, read_plan
from rnnx_runtime.files.regular_file import read_regular
from rnnx_runtime.files.seal import is_sealed


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The files of a verification, and how to read a model that rnnx did not make.

    `module` is the key prefix of the layer in the checkpoint, `names` the graph's tensor for each of the contract's
    names, `batch_first` the order of its x and output; these three are for a foreign model alone.
    """

    checkpoint: Path | None = None
    engine: Path | None = None
    module: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    batch_first: bool = False


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model, and of what was given: the engine built from it and the weights it was exported from.

    `foreign` is set for a model that rnnx did not make; then `model` holds the contract that it ought to have.
    """

    model: OnnxFile
    engine: PlanFile | None
    weights: RecurrentWeights | None
    foreign: ForeignModel | None = None

    @property
    def contract(self) -> Contract:
        """The model's contract."""
        return self.model.contract

    @property
    def layer(self) -> Recurrence:
        """The one layer or cell that the model is."""
        return self.model.contract.layer()

    @property
    def is_whole(self) -> bool:
        """Whether the model is more than one layer: its truth is its module's, and no checkpoint alone gives it."""
        return self.model.contract.bare is None

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The outputs to compare: the contract's, or those of them that a foreign model gives."""
        return self.foreign.outputs if self.foreign else self.contract.outputs

    @property
    def sha256(self) -> str:
        """SHA-256 of the model's file."""
        return hashlib.sha256(self.model.data).hexdigest()

    def profile_corners(self) -> list[Mapping[str, int]]:
        """The smallest and the best sizes of each of the engine's profiles; float64 may take minutes at the largest."""
        profiles = self.engine.sidecar.profiles if self.engine else ()
        return [
            {dim: getattr(sizes, corner) for dim, sizes in profile.items()}
            for profile in profiles
            for corner in ("min", "opt")
        ]

    def rows(self) -> tuple[str, ...]:
        """The rows that apply when none is named: an engine's only where there is one, PyTorch's as weights can."""
        flavor = (self.engine.sidecar.flavor,) if self.engine else ()
        return (*(() if self.is_whole else PYTORCH_ROWS), "ort-cpu", "ort-cuda", *flavor, NETWORK_ROW)

    def open(self, row: str, threads: int) -> Candidate:
        """Open one row.

        Raises:
            BackendUnavailable: this host cannot run it, or the file it needs was not given; says exactly why.
            BackendError: the backend was there and refused the model.
        """
        if row in PYTORCH_ROWS:
            return self._open_pytorch(row)
        if row == NETWORK_ROW:
            from rnnx.tensorrt_network.candidate import NetworkCandidate

            return NetworkCandidate(self.model, self.contract, self.foreign.names if self.foreign else None)
        if self._is_engine_row(row):
            return SessionCandidate(cast(BackendName, row), self._engine_for(row).path, threads)
        if self.foreign:
            from rnnx.runners.foreign_candidate import ForeignCandidate

            return ForeignCandidate(row, self.foreign, threads)
        return SessionCandidate(cast(BackendName, row), self.model.path, threads)

    def precision(self, row: str) -> str:
        """The precision a row computes in: PyTorch in float32, an engine perhaps in TF32, else as the model says."""
        if row in PYTORCH_ROWS:
            return "float32"
        if self.engine and self._is_engine_row(row) and self.engine.sidecar.tf32:
            return "tf32"
        return self.contract.precision

    def covers(self, row: str, sizes: Mapping[str, int]) -> bool:
        """Whether a row takes inputs of these sizes; an engine does where they lie within one of its profiles."""
        if self.engine is None or not self._is_engine_row(row):
            return True
        return any(
            all(profile[dim].min <= size <= profile[dim].max for dim, size in sizes.items())
            for profile in self.engine.sidecar.profiles
        )

    @staticmethod
    def _is_engine_row(row: str) -> bool:
        return row in ("tensorrt", "tensorrt-rtx")

    def _engine_for(self, row: str) -> PlanFile:
        if self.engine is None or self.engine.sidecar.flavor != row:
            raise BackendUnavailable(
                f"backend {row}",
                got="no engine" if self.engine is None else f"an engine of {self.engine.sidecar.flavor}",
                expected=f"a .plan that {row} built from this model",
                remedy="give it with --engine; rnnx build-engine builds it",
            )
        return self.engine

    def _open_pytorch(self, row: str) -> Candidate:
        if self.is_whole:
            raise BackendUnavailable(
                f"backend {row}",
                got="a whole model, whose module is not in its file",
                expected="the module beside it",
                remedy="name its factory with --model; the golden file holds what PyTorch gave at the export",
            )
        if self.weights is None:
            raise BackendUnavailable(
                f"backend {row}",
                got="no checkpoint",
                expected="the weights this model was exported from",
                remedy="give them with --checkpoint",
            )
        from rnnx.truths.torch_reference import TorchReference

        return TorchReference(self.weights, self.layer, device="cuda" if row == "pytorch-cuda" else "cpu")


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
    if sources.checkpoint is not None and not is_sealed(data):
        return _foreign_subject(model, data, sources, sources.checkpoint)
    _refuse_foreign_options(sources, sealed=is_sealed(data))
    if not is_sealed(data):
        raise ContractError(
            str(model),
            got="no rnnx contract in it, and no --checkpoint",
            expected="a model that rnnx export wrote, whole, or another exporter's with its weights",
            remedy="give the weights with --checkpoint; a truncated copy of a model of rnnx also looks like this",
        )
    file = checked_onnx(model, data)
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
            "model", got=path.name, expected="an .onnx", remedy="give the .onnx, and its plan with --engine"
        )
    try:
        return read_regular(path, LARGEST_ONNX)
    except OSError as error:
        raise FileDamagedError(
            str(path), got=error.strerror or str(error), expected="a readable file", remedy="check the path"
        ) from None


def _foreign_subject(path: Path, data: bytes, sources: Sources, checkpoint_path: Path) -> Subject:
    if sources.engine is not None:
        raise OptionError(
            "--engine",
            got=f"one for {path.name}, which rnnx did not make",
            expected="no engine",
            remedy="the row tensorrt-network says what TensorRT understands of the file",
        )
    parse_onnx(path, data)  # a damaged file is told as such, and not as one whose layer nobody chose
    checkpoint = open_checkpoint(checkpoint_path)
    weights = read_weights(checkpoint, choose_module(checkpoint, sources.module))
    foreign = read_foreign_model(path, data, weights, checkpoint.name, sources.names, batch_first=sources.batch_first)
    return Subject(model=foreign.file, engine=None, weights=weights, foreign=foreign)


def _refuse_foreign_options(sources: Sources, *, sealed: bool) -> None:
    given = {"--module": sources.module, "--map": sources.names, "--batch-first": sources.batch_first}
    for option, value in given.items():
        if value and sealed:
            raise OptionError(
                option,
                got="it for a model of rnnx",
                expected="a model of another exporter",
                remedy=f"leave {option} out: the model's own contract says it",
            )
        if value:
            raise OptionError(
                option,
                got="no --checkpoint",
                expected="the weights that the model was exported from",
                remedy="give them with --checkpoint",
            )


def _engine_of(model: OnnxFile, path: Path) -> PlanFile:
    if path.suffix != ".plan":
        raise OptionError("--engine", got=path.name, expected="a .plan", remedy="build one with rnnx build-engine")
    engine = read_plan(path)
    check_engine(engine, model)
    return engine


def check_engine(engine: PlanFile, model: OnnxFile) -> None:
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
