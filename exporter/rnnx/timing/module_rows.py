"""PyTorch's rows of a whole model: its module, at hand again while the backends are timed."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rnnx.extras import require
from rnnx.runners.candidates import Candidate
from rnnx.runners.row_names import PYTORCH_ROWS
from rnnx.runners.subject import Subject
from rnnx.timing.figures import StartUpRow
from rnnx.timing.start_up import no_start_up
from rnnx.truths.model_cases import CaseSource
from rnnx.truths.model_golden import read_model_golden
from rnnx_runtime.errors import BackendUnavailable
from rnnx_runtime.files.regular_file import found_at

if TYPE_CHECKING:
    from torch import nn

    from rnnx.tracing.live_model import LiveModel


@contextlib.contextmanager
def opened_inputs(
    subject: Subject, model: "str | nn.Module | None", checkpoint: Path | None, rows: Sequence[str], threads: int
) -> "Iterator[tuple[CaseSource, LiveModel | None]]":
    """What inputs are drawn from, and a whole model's module where it was given and is needed.

    The golden file says what values a whole model's inputs have; without it, the example that the module brings does.

    Raises what `rnnx.tracing.live_model.read_model` raises, and GoldenError, MissingExtraError.
    """
    contract, path = subject.contract, subject.golden
    if not subject.is_whole:
        yield CaseSource(contract=contract, example={}), None
        return
    example = read_model_golden(path, contract).example if model is None or found_at(path) else None
    if model is None or (example is not None and not {*rows} & {*PYTORCH_ROWS}):
        yield CaseSource(contract=contract, example=example.case.feeds if example else {}), None
        return
    require("torch", extra="export", purpose="running a whole model's module")
    from rnnx.tracing.live_model import read_model  # here, for it imports torch

    with read_model(model, checkpoint, contract, example, threads) as live:
        yield CaseSource(contract=contract, example=live.example), live


def opened_rows(
    live: "LiveModel", rows: Sequence[str], stack: contextlib.ExitStack
) -> tuple[list[Candidate], list[StartUpRow]]:
    """A module's rows, which have no start-up for they cannot leave this process; and why others are not here."""
    opened: list[Candidate] = []
    missing: list[StartUpRow] = []
    for row in rows:
        try:
            opened.append(stack.enter_context(contextlib.closing(live.candidate(row))))
        except BackendUnavailable as error:
            missing.append(no_start_up(row, str(error)))
    return opened, missing
