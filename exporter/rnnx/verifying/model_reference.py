"""What verifies a whole model where its module is given: its truth on fresh inputs, and PyTorch's rows."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rnnx.checks.truth_source import TruthSource
from rnnx.extras import require
from rnnx.progress import ProgressListener, stage
from rnnx.runners.subject import Subject
from rnnx.runners.verify_options import MOST_TIMED_STEPS, VerifyOptions
from rnnx.timing.inputs import steps_of_call
from rnnx.truths.model_cases import CaseSource
from rnnx.truths.model_golden import ModelTruth, model_truth
from rnnx.truths.model_matrix import fresh_cases

if TYPE_CHECKING:
    from rnnx.tracing.live_model import LiveModel


@dataclass(frozen=True, kw_only=True)
class ModelReference:
    """The module that a model was exported from, and what to verify with it."""

    live: "LiveModel"
    subject: Subject
    options: VerifyOptions

    def truth(self, latency_sizes: Mapping[str, int], listener: ProgressListener) -> ModelTruth:
        """The truth of the example and of the matrix's cases, drawn from other seeds than the golden file's."""
        draw = fresh_cases(self.options.matrix, self._own_sizes(latency_sizes))
        contract, example = self.subject.contract, self.live.example
        count = len(list(draw(CaseSource(contract=contract, example=example), 0)))
        with stage(listener, "truth in float64", count) as part_done:
            return model_truth(self.live.eager(), contract, example, draw, on_case=part_done)

    def source(self) -> TruthSource:
        """The module in both precisions on any inputs, for the checks; raises what the module itself raises."""
        from torch import float32, float64

        eager = self.live.eager()
        return TruthSource(
            double=lambda case: eager.outputs(case.feeds, float64),
            single=lambda case: eager.outputs(case.feeds, float32),
        )

    def _own_sizes(self, latency_sizes: Mapping[str, int]) -> Sequence[Mapping[str, int]]:
        """Sizes that a matrix may miss: a profile's smallest and best, and the shape that latency is measured at."""
        is_timed = self.options.latency and steps_of_call(self.subject.contract, latency_sizes) <= MOST_TIMED_STEPS
        return [*self.subject.profile_corners(), *([latency_sizes] if is_timed else [])]


@contextmanager
def opened_reference(
    subject: Subject, golden: ModelTruth | None, options: VerifyOptions
) -> Iterator[ModelReference | None]:
    """The module of `options.model`, None where there is none; PyTorch has so many threads inside the block.

    Raises what `rnnx.tracing.live_model.read_model` raises, and MissingExtraError where torch is not installed.
    """
    if options.model is None or golden is None:
        yield None
        return
    require("torch", extra="export", purpose="running a whole model's module")
    from rnnx.tracing.live_model import read_model  # here, for it imports torch

    checkpoint = options.sources.checkpoint
    with read_model(options.model, checkpoint, subject.contract, golden.example, options.threads) as live:
        yield ModelReference(live=live, subject=subject, options=options)
