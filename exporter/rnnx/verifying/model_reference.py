"""What verifies a whole model where its module is given: its truth on fresh inputs, and PyTorch's rows."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rnnx.checks.truth_source import TruthSource
from rnnx.extras import require
from rnnx.modules.given_module import read_given_module
from rnnx.modules.model_code import model_code
from rnnx.progress import ProgressListener, stage
from rnnx.runners.candidates import Candidate
from rnnx.runners.subject import Subject
from rnnx.runners.verify_options import MOST_TIMED_STEPS, VerifyOptions
from rnnx.timing.inputs import steps_of_call
from rnnx.truths.model_cases import CaseSource
from rnnx.truths.model_golden import ModelTruth, model_truth
from rnnx.truths.model_matrix import fresh_cases
from rnnx.truths.torch_reference import torch_threads

if TYPE_CHECKING:
    from torch import nn

    from rnnx.tracing.live_model import LiveModel


@dataclass(frozen=True, kw_only=True)
class ModelReference:
    """The module that a model was exported from, and what to verify with it; `title` names it and its checkpoint."""

    live: "LiveModel"
    subject: Subject
    options: VerifyOptions
    title: str

    def truth(self, latency_sizes: Mapping[str, int], listener: ProgressListener) -> ModelTruth:
        """The truth of the example and of the matrix's cases, drawn from other seeds than the golden file's."""
        draw = fresh_cases(self.options.matrix, self._own_sizes(latency_sizes))
        contract, example = self.subject.contract, self.live.example
        count = len(list(draw(CaseSource(contract=contract, example=example), 0)))
        with stage(listener, "truth in float64", count):
            return model_truth(self.live.eager(), contract, example, draw, on_case=listener.part_done)

    def source(self) -> TruthSource:
        """The module in both precisions on any inputs, for the checks; raises what the module itself raises."""
        from torch import float32, float64

        eager = self.live.eager()
        return TruthSource(
            double=lambda case: eager.outputs(case.feeds, float64),
            single=lambda case: eager.outputs(case.feeds, float32),
        )

    def candidate(self, row: str) -> Candidate:
        """The row `pytorch-cpu` or `pytorch-cuda`; raises BackendUnavailable where the module cannot run there."""
        return self.live.candidate("cuda" if row == "pytorch-cuda" else "cpu")

    def _own_sizes(self, latency_sizes: Mapping[str, int]) -> Sequence[Mapping[str, int]]:
        """Sizes that a matrix may miss: a profile's smallest and best, and the shape that latency is measured at."""
        is_timed = self.options.latency and steps_of_call(self.subject.contract, latency_sizes) <= MOST_TIMED_STEPS
        return [*self.subject.profile_corners(), *([latency_sizes] if is_timed else [])]


@contextmanager
def opened_reference(
    subject: Subject, golden: ModelTruth | None, options: VerifyOptions
) -> Iterator[ModelReference | None]:
    """The module of `options.model`, None where there is none; PyTorch has so many threads inside the block.

    Raises:
        FactoryError, CheckpointError: the module cannot be made, or is not the one that was exported.
        ExportError: it is in training mode, scripted, or quantized.
        OptionError: a checkpoint beside a live module.
        MissingExtraError: torch is not installed.
    """
    if options.model is None or golden is None:
        yield None
        return
    require("torch", extra="export", purpose="running a whole model's module")
    from rnnx.tracing.live_model import has_weights_of, opened_model  # here, for it imports torch

    checkpoint = None if options.checkpoint is None else Path(options.checkpoint)
    with _guarded(options.model):
        given = read_given_module(options.model, checkpoint, lambda own: has_weights_of(own, subject.contract))
        title = f"module {given.source}" + (f" with {checkpoint.name}" if checkpoint else "")
        with torch_threads(options.threads), opened_model(given, subject.contract, golden.example) as live:
            yield ModelReference(live=live, subject=subject, options=options, title=title)


def _guarded(model: "str | nn.Module") -> AbstractContextManager[None]:
    """What a factory's module raises becomes an error; what a live one raises is its owner's to see."""
    return model_code(model) if isinstance(model, str) else nullcontext()
