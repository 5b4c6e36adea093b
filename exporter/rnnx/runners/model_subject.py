"""What a verification of a whole model is about: the model, its engine, and its golden file."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from rnnx.errors import OptionError
from rnnx.runners.candidates import PYTORCH_ROWS, Candidate, SessionCandidate
from rnnx.runners.subject import check_engine
from rnnx.runners.verify_options import VerifyOptions
from rnnx.tensorrt_network.network_row import NETWORK_ROW
from rnnx.truths.golden import golden_path
from rnnx.truths.model_golden import ModelTruth, read_model_golden
from rnnx_runtime import BackendName, BackendUnavailable
from rnnx_runtime.contract import Contract
from rnnx_runtime.files.model_file import OnnxFile, PlanFile, read_plan

ENGINE_ROWS = ("tensorrt", "tensorrt-rtx")


@dataclass(frozen=True, kw_only=True)
class ModelSubject:
    """A whole model, and the engine built from it where one was given."""

    model: OnnxFile
    engine: PlanFile | None

    @property
    def contract(self) -> Contract:
        """The model's contract."""
        return self.model.contract

    @property
    def sha256(self) -> str:
        """SHA-256 of the model's file."""
        return hashlib.sha256(self.model.data).hexdigest()

    @property
    def rows(self) -> tuple[str, ...]:
        """The rows that apply when none is named: an engine's only where there is one."""
        flavor = (self.engine.sidecar.flavor,) if self.engine else ()
        return ("ort-cpu", "ort-cuda", *flavor, NETWORK_ROW)

    def open(self, row: str, threads: int) -> Candidate:
        """Open one row.

        Raises:
            BackendUnavailable: this host cannot run it, or the file it needs was not given; says exactly why.
            BackendError: the backend was there and refused the model.
        """
        if row in PYTORCH_ROWS:
            raise BackendUnavailable(
                f"backend {row}",
                got="a whole model, whose module is not in its file",
                expected="the module beside it",
                remedy="name its factory with --model; the golden file holds what PyTorch gave at the export",
            )
        if row == NETWORK_ROW:
            from rnnx.tensorrt_network.candidate import NetworkCandidate

            return NetworkCandidate(self.model, self.contract)
        path = self._engine_for(row).path if row in ENGINE_ROWS else self.model.path
        return SessionCandidate(cast(BackendName, row), path, threads)

    def precision(self, row: str) -> str:
        """The precision a row computes in: PyTorch in float32, an engine perhaps in TF32, else as the model says."""
        if row in PYTORCH_ROWS:
            return "float32"
        if self.engine and row in ENGINE_ROWS and self.engine.sidecar.tf32:
            return "tf32"
        return self.contract.precision

    def covers(self, row: str, sizes: Mapping[str, int]) -> bool:
        """Whether a row takes inputs of these sizes; an engine does where they lie within one of its profiles."""
        if self.engine is None or row not in ENGINE_ROWS:
            return True
        return any(
            all(profile[dim].min <= size <= profile[dim].max for dim, size in sizes.items())
            for profile in self.engine.sidecar.profiles
        )

    def _engine_for(self, row: str) -> PlanFile:
        if self.engine is None or self.engine.sidecar.flavor != row:
            raise BackendUnavailable(
                f"backend {row}",
                got="no engine" if self.engine is None else f"an engine of {self.engine.sidecar.flavor}",
                expected=f"a .plan that {row} built from this model",
                remedy="give it with --engine; rnnx build-engine builds it",
            )
        return self.engine


def read_model_subject(model: OnnxFile, options: VerifyOptions) -> tuple[ModelSubject, ModelTruth]:
    """Read a whole model's engine and golden file, and check that they belong together.

    Raises:
        OptionError: an option that a layer alone has.
        FileDamagedError, ContractError: the model or the engine is damaged, or rnnx did not write it.
        EngineError: the engine was built from another model.
        GoldenError: the golden file is missing, damaged or another model's.
    """
    _refuse_layer_options(options)
    _refuse_loops(model.contract, options)
    subject = ModelSubject(model=model, engine=None if options.engine is None else _engine(model, Path(options.engine)))
    return subject, read_model_golden(golden_path(model.path), model.contract)


def _engine(model: OnnxFile, path: Path) -> PlanFile:
    if path.suffix != ".plan":
        raise OptionError("--engine", got=path.name, expected="a .plan", remedy="build one with rnnx build-engine")
    engine = read_plan(path)
    check_engine(engine, model)
    return engine


def _refuse_layer_options(options: VerifyOptions) -> None:
    _refuse_without_module(options)
    given = {
        "--module": options.module is not None,
        "--map": bool(options.names),
        "--batch-first": options.batch_first,
    }
    for option, value in given.items():
        if value:
            raise OptionError(
                option,
                got="it for a whole model",
                expected="a single layer",
                remedy=f"leave {option} out: a whole model's own contract says it",
            )


def _refuse_without_module(options: VerifyOptions) -> None:
    """Refuse what needs the model's code: neither weights alone nor a golden file give the truth of other inputs."""
    given = {"--checkpoint": options.checkpoint is not None, "--matrix": options.matrix != "quick"}
    for option, value in given.items():
        if value and options.model is None:
            raise OptionError(
                option,
                got="it for a whole model, whose code is not in its file",
                expected="the module's factory too",
                remedy=f"add --model package.module:factory, or leave {option} out to verify with the golden file",
            )


def _refuse_loops(contract: Contract, options: VerifyOptions) -> None:
    """Refuse the module of a decoder in a form whose truth is a loop around it."""
    if options.model is not None and contract.decoder is not None and contract.decoder.form != "step":
        raise OptionError(
            "--model",
            got=f"it for a decoder in form {contract.decoder.form}",
            expected="a model, or a decoder's step",
            remedy="leave it out: the golden file holds what PyTorch decoded; export the decoder with --form step to "
            "verify and time its module",
        )
