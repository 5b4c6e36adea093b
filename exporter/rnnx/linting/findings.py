"""What `rnnx doctor` found in an ONNX file, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong, or may go wrong, with a graph.

    An error computes wrongly somewhere, or a backend that it names refuses it; a warning does so under a condition that
    the file does not tell (how it was trained, the sizes it will see, the processor); an info limits what can be done.

    `rule` is a short stable name such as `gru-reset-before`. `node` names the node or tensor, with its operator, and
    says how many more of the same kind there are; `others` are those, each with its own message where that differs.
    `backends` are those it concerns, such as `("tensorrt", "tensorrt-rtx")`; empty means every backend. `message` says
    what happens there, `fix` what to do.
    """

    rule: str
    severity: Severity
    node: str
    message: str
    fix: str
    backends: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DoctorReport:
    """All findings of a file, worst first; `recurrences` counts recurrent nodes by operator. True without an error."""

    path: str
    producer: str
    opset: int
    recurrences: Mapping[str, int]
    findings: tuple[Finding, ...]

    def __bool__(self) -> bool:
        return not any(finding.severity == "error" for finding in self.findings)
