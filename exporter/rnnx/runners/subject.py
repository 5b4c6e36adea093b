"""What a verification is about: one model, its engine and its weights, checked to belong together."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from rnnx.runners.candidates import Candidate, SessionCandidate
from rnnx.runners.foreign_model import ForeignModel
from rnnx.runners.row_names import PYTORCH_ROWS
from rnnx.tensorrt_network.network_row import NETWORK_ROW
from rnnx.truths.golden import golden_path
from rnnx.weights.weights import RecurrentWeights
from rnnx_runtime import (
    BackendName,
    BackendUnavailable,
    Contract,
    Recurrence,
    TensorSpec,
)
from rnnx_runtime.files.model_file import OnnxFile, PlanFile


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model, and of what was given: the engine built from it and the weights it was exported from.

    `foreign` is set for a model that rnnx did not make; then `model` holds the contract that it ought to have. `like`
    is the sealed model that it was made from, where its truth is that one's.
    """

    model: OnnxFile
    engine: PlanFile | None
    weights: RecurrentWeights | None
    foreign: ForeignModel | None = None
    like: Path | None = None

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

    @property
    def golden(self) -> Path:
        """Where the golden file of its truth lies: beside it, or beside the model that it was made from."""
        return golden_path(self.like or self.model.path)

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
            from rnnx.runners.like_candidate import LikeCandidate

            opened = ForeignCandidate if self.like is None else LikeCandidate
            return opened(row, self.foreign, threads)
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
                remedy="give it as the engine; rnnx build-engine builds it",
            )
        return self.engine

    def _open_pytorch(self, row: str) -> Candidate:
        if self.is_whole:
            raise BackendUnavailable(
                f"backend {row}",
                got="a whole model, whose module is not in its file",
                expected="the module beside it",
                remedy="give its factory as the model; the golden file holds what PyTorch gave at the export",
            )
        if self.weights is None:
            raise BackendUnavailable(
                f"backend {row}",
                got="no checkpoint",
                expected="the weights this model was exported from",
                remedy="give them as the checkpoint",
            )
        from rnnx.truths.torch_reference import TorchReference

        return TorchReference(self.weights, self.layer, device="cuda" if row == "pytorch-cuda" else "cpu")
