"""The last check of every export: the written file, run as a service would, gives the golden truth at all its sizes."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from rnnx.errors import ExportError
from rnnx.extras import require
from rnnx.parity.parity import CaseParity, failures
from rnnx.runners.candidates import SessionCandidate
from rnnx.truths.model_cases import EXAMPLE
from rnnx.truths.truth import CaseTruth
from rnnx_runtime.backends.names import BackendName
from rnnx_runtime.contract import Contract
from rnnx_runtime.errors import BackendError, BackendUnavailable

_BACKEND: BackendName = "ort-cpu"


class ValuesDifferError(ExportError):
    """The written graph gives other values than the model; `failed` and `passed` name cases, `output` the first's."""

    output: str = ""
    failed: frozenset[str] = frozenset()
    passed: frozenset[str] = frozenset()


def check_values(path: Path, truth: Sequence[CaseTruth], contract: Contract) -> str:
    """Run the written model on every case of its golden file in ONNX Runtime; returns what was done.

    Each output of each case is held to the limit that `rnnx verify` has for it.

    Raises:
        ExportError: ONNX Runtime refused the model.
        ValuesDifferError: it gives other values at one of the sizes.
    """
    try:
        with contextlib.closing(SessionCandidate(_BACKEND, path, 1)) as session:
            failed = failures(session, truth, contract)
    except BackendUnavailable as error:
        return f"values: skipped, {error.got}; {error.remedy}"
    except BackendError as error:
        raise ExportError(error.subject, got=error.got, expected=error.expected, remedy=error.remedy) from error
    if failed:
        raise _differs(failed, [entry.case.name for entry in truth])
    installed = require("onnxruntime", extra="cpu", purpose="checking the export").__version__
    return f"values: equal to the truth in {len(truth)} cases in ONNX Runtime {installed}"


def _differs(failures: Sequence[CaseParity], cases: Sequence[str]) -> ValuesDifferError:
    first, failed = failures[0], frozenset(failure.case for failure in failures)
    passed = frozenset(cases) - failed
    error = first.closeness.max_error if first.closeness else 0.0
    differ = ValuesDifferError(
        f"output {first.output!r} at {first.case}",
        got=first.problem or f"an error of {error:.3g}",
        expected=f"the float64 truth to {first.limit:.3g} (float32's own error is {first.float32_error:.3g})",
        remedy=_SIZE_REMEDY if EXAMPLE in passed else _GRAPH_REMEDY,
    )
    differ.output, differ.failed, differ.passed = first.output, failed, passed
    return differ


_SIZE_REMEDY = (
    "the example's own size is right: look for a size that forward turns into a number of Python's (int(), //, range), "
    "or for a loop over what lengths have cut (give pad_packed_sequence its total_length), or export with static=True "
    "(--static); else this is a defect of rnnx: report it with the model"
)

_GRAPH_REMEDY = (
    "where forward works on PackedSequence.data other than row by row, use the padded tensor and lengths; where it "
    "goes over time in a loop of Python, make no size of that time by //, int() or round(); else this is a defect of "
    "rnnx: report it with the model"
)
