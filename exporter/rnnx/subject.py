"""What a verification is about: one model, its engine and its weights, checked to belong together."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from rnnx.candidates import PYTORCH_ROWS, Candidate, SessionCandidate
from rnnx.checkpoint import open_checkpoint
from rnnx.errors import CheckpointError, EngineError, OptionError
from rnnx.recurrence import RecurrentModule
from rnnx.weights import RecurrentWeights, read_weights, surveyed
from rnnx_runtime import BackendName, BackendUnavailable, Contract
from rnnx_runtime.model_file import OnnxFile, PlanFile, read_onnx, read_plan


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model, and of what was given: the engine built from it and the weights it was exported from."""

    model: OnnxFile
    engine: PlanFile | None
    weights: RecurrentWeights | None

    @property
    def contract(self) -> Contract:
        """The model's contract."""
        return self.model.contract

    def rows(self) -> tuple[str, ...]:
        """The rows that apply when none is named: an engine's only where there is one."""
        flavor = (self.engine.sidecar.flavor,) if self.engine else ()
        return (*PYTORCH_ROWS, "ort-cpu", "ort-cuda", *flavor)

    def open(self, row: str, threads: int) -> Candidate:
        """Open one row.

        Raises:
            BackendUnavailable: this host cannot run it, or the file it needs was not given; says exactly why.
            BackendError: the backend was there and refused the model.
        """
        if row in PYTORCH_ROWS:
            return self._open_pytorch(row)
        name = cast(BackendName, row)
        if not self._is_engine_row(row):
            return SessionCandidate(name, self.model.path, threads)
        if self.engine is None or self.engine.sidecar.flavor != row:
            raise BackendUnavailable(
                f"backend {row}",
                got="no engine" if self.engine is None else f"an engine of {self.engine.sidecar.flavor}",
                expected=f"a .plan that {row} built from this model",
                remedy="give it with --engine; rnnx build-engine builds it",
            )
        return SessionCandidate(name, self.engine.path, threads)

    def precision(self, row: str) -> str:
        """The precision a row computes in: an engine may use TF32, everything else is as the model says."""
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
        return row.startswith("tensorrt")

    def _open_pytorch(self, row: str) -> Candidate:
        if self.weights is None:
            raise BackendUnavailable(
                f"backend {row}",
                got="no checkpoint",
                expected="the weights this model was exported from",
                remedy="give them with --checkpoint",
            )
        from rnnx.torch_reference import TorchReference

        return TorchReference(self.weights, self.contract, device="cuda" if row == "pytorch-cuda" else "cpu")


def read_subject(model: Path, *, checkpoint: Path | None, engine: Path | None) -> Subject:
    """Read the files and check that the engine and the weights are this model's.

    Raises:
        FileDamagedError, ContractError: the model or the engine is damaged or was not written by rnnx.
        CheckpointError: the checkpoint cannot be read, or its weights are not the model's.
        EngineError: the engine was built from another model.
        OptionError: the model is no .onnx.
    """
    if model.suffix != ".onnx":
        raise OptionError(
            "model", got=model.name, expected="an .onnx", remedy="give the .onnx, and its plan with --engine"
        )
    file = read_onnx(model)
    return Subject(
        model=file,
        engine=None if engine is None else _engine_of(file, engine),
        weights=None if checkpoint is None else _weights_of(file.contract, checkpoint),
    )


def _engine_of(model: OnnxFile, path: Path) -> PlanFile:
    if path.suffix != ".plan":
        raise OptionError("--engine", got=path.name, expected="a .plan", remedy="build one with rnnx build-engine")
    engine = read_plan(path)
    actual = hashlib.sha256(model.data).hexdigest()
    if engine.sidecar.onnx_sha256 != actual:
        raise EngineError(
            f"engine {path.name}",
            got=f"one built from an ONNX with sha256 {engine.sidecar.onnx_sha256[:12]}…",
            expected=f"{actual[:12]}…, which is {model.path.name}",
            remedy="build the engine again from this model, or give the model it was built from",
        )
    if engine.contract != model.contract:
        raise EngineError(
            f"sidecar of {path.name}",
            got="another contract than its model's",
            expected=f"the contract in {model.path.name}",
            remedy="the sidecar was edited: build the engine again",
        )
    return engine


def _weights_of(contract: Contract, path: Path) -> RecurrentWeights:
    """The model's own weights in a checkpoint, under the key prefix they were exported from or another."""
    checkpoint = open_checkpoint(path)
    modules = [module for module in surveyed(checkpoint).modules if _could_be(module, contract)]
    modules.sort(key=lambda module: module.prefix != contract.source.module)  # its own prefix first
    found = [read_weights(checkpoint, module) for module in modules]
    for weights in found:
        if weights.sha256 == contract.source.weights_sha256:
            return weights
    digests = ", ".join(f"{w.module.shown_prefix} with sha256 {w.sha256[:12]}…" for w in found)
    kind = "cell" if contract.form != "encoder" else "layer"
    raise CheckpointError(
        f"checkpoint {path.name}",
        got=f"weights {digests}" if found else f"no {contract.cell.upper()} {kind} of the model's sizes",
        expected=f"weights with sha256 {contract.source.weights_sha256[:12]}…, which the model holds",
        remedy="give the checkpoint this model was exported from, or export again",
    )


def _could_be(module: RecurrentModule, contract: Contract) -> bool:
    sizes = ("input_size", "hidden_size", "projection_size", "layers", "directions")
    same_form = (module.kind, module.is_cell) == (contract.cell, contract.form != "encoder")
    return same_form and all(getattr(module, size) == getattr(contract, size) for size in sizes)
