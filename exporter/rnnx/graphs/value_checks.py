"""The last check of every export: the written file, run as a service would, gives the golden truth at all its sizes."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from rnnx.errors import ExportError
from rnnx.extras import require
from rnnx.parity.parity import CaseParity, compare
from rnnx.runners.candidates import SessionCandidate
from rnnx.truths.model_cases import EXAMPLE
from rnnx.truths.truth import CaseTruth
from rnnx_runtime.backends.names import BackendName
from rnnx_runtime.contract import Contract
from rnnx_runtime.errors import BackendError, BackendUnavailable

_BACKEND: BackendName = "ort-cpu"


def check_values(path: Path, truth: Sequence[CaseTruth], contract: Contract) -> str:
    """Run the written model on every case of its golden file in ONNX Runtime; returns what was done.

    Each output of each case is held to the limit that `rnnx verify` has for it.

    Raises:
        ExportError: ONNX Runtime refused the model, or gives other values at one of the sizes.
    """
    try:
        with contextlib.closing(SessionCandidate(_BACKEND, path, 1)) as session:
            row = compare(session, truth, contract, contract.precision)
    except BackendUnavailable as error:
        return f"values: skipped, {error.got}; {error.remedy}"
    except BackendError as error:
        raise ExportError(error.subject, got=error.got, expected=error.expected, remedy=error.remedy) from error
    if row.failures:
        raise _differs(row.failures, [entry.case.name for entry in truth])
    installed = require("onnxruntime", extra="cpu", purpose="checking the export").__version__
    return f"values: equal to the truth in {len(truth)} cases in ONNX Runtime {installed}"


def _differs(failures: Sequence[CaseParity], cases: Sequence[str]) -> ExportError:
    first, failed = failures[0], {failure.case for failure in failures}
    error = first.closeness.max_error if first.closeness else 0.0
    return ExportError(
        f"output {first.output!r} at {first.case}",
        got=first.problem or f"an error of {error:.3g}",
        expected=f"the float64 truth to {first.limit:.3g} (float32's own error is {first.float32_error:.3g})",
        remedy=_SIZE_REMEDY if EXAMPLE in set(cases) - failed else _GRAPH_REMEDY,
    )


_SIZE_REMEDY = (
    "the example's own size is right: look for a size that forward turns into a number of Python's (int(), //, range), "
    "or give --static; else this is a defect of rnnx: report it with the model"
)

_GRAPH_REMEDY = (
    "where forward works on PackedSequence.data other than row by row, use the padded tensor and lengths; else this is "
    "a defect of rnnx: report it with the model"
)
