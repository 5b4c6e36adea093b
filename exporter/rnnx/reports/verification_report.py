"""What a verification found, as a value."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rnnx.diagnosis.diagnosis import Diagnosis
from rnnx.linting.findings import Finding
from rnnx.parity.parity import ParityReport
from rnnx.parity.results import CheckResult, DriftCurve, all_hold
from rnnx.parity.tolerances import Tolerance
from rnnx.reports.regressions import Regression
from rnnx.timing.figures import LatencyReport
from rnnx.timing.fingerprint import Fingerprint


@dataclass(frozen=True, kw_only=True)
class VerificationReport:
    """Parity and the checks decide the verdict, `bool(report)`, and regressions where a baseline was given.

    Latency (None where not asked for) decides only through `regressions`; `findings` of the graph and `diagnoses` of
    failed rows explain. `truth` says what errors are measured against, `yardstick` whose float32 errors stand beside
    them, `tolerances` the table's line for each precision that ran, `seconds` where the time of the call went by stage.

    `not_compared` are outputs of a foreign model that stand for none of the contract's.

    `weights_sha256` is of the weights in the model, empty where they are not known: another export of the same weights
    can be held against an earlier report. `baseline` names that report where one was given, and `baseline_notes` say
    what was not judged against it and why.
    """

    model: str
    model_sha256: str
    parity: ParityReport
    truth: str
    yardstick: str
    matrix: str
    cases: tuple[str, ...]
    tolerances: Mapping[str, Tolerance]
    fingerprint: Fingerprint
    checks: tuple[CheckResult, ...] = ()
    drift: tuple[DriftCurve, ...] = ()
    diagnoses: tuple[Diagnosis, ...] = ()
    findings: tuple[Finding, ...] = ()
    latency: LatencyReport | None = None
    regressions: tuple[Regression, ...] = ()
    not_compared: tuple[str, ...] = ()
    weights_sha256: str = ""
    baseline: str = ""
    baseline_notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.parity) and all_hold((*self.checks, *self.drift)) and not self.regressions
