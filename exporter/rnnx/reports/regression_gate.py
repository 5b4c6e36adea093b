"""What of a verification is worse than it was in an earlier report of the same model."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

from rnnx.parity.parity import CaseParity, ParityRow
from rnnx.parity.results import CheckResult, DriftCurve
from rnnx.reports.regressions import Regression
from rnnx.reports.verification_report import VerificationReport
from rnnx.timing.comparison import Move, compare_latency
from rnnx.timing.fingerprint import differences

GROWTH = 4.0
"""Between PyTorch's kernels, ONNX Runtime's and NumPy's, all of them right, the largest error of a case differed by up
to 2.9 times in 1,428 pairs above the float32 error (four networks, full matrix); one kernel gives the same twice."""

RULE = (
    "worse is a row, case, check or drift that passed and now fails, is skipped or is gone; a largest error that is"
    f" more than {GROWTH:g} times what it was and above PyTorch's own float32 error, though within its limit; and a"
    " latency that moved beyond the noise as rnnx bench --compare judges it, in units of PyTorch's of the same run"
    " where that ran"
)


def judged_against(report: VerificationReport, baseline: VerificationReport, path: str) -> VerificationReport:
    """The report with its regressions since `baseline`, which was read from `path`."""
    return dataclasses.replace(
        report,
        baseline=path,
        regressions=regressions_against(report, baseline),
        baseline_notes=_notes(report, baseline),
    )


def regressions_against(report: VerificationReport, baseline: VerificationReport) -> tuple[Regression, ...]:
    """What `baseline` had better by the `RULE`, in the order of its rows."""
    rows = {row.backend: row for row in report.parity.rows}
    passing = {row.backend for row in report.parity.rows if row.status == "pass"}
    return (
        *(found for row in baseline.parity.rows for found in _row(row, rows.get(row.backend))),
        *_checks(report.checks, [check for check in baseline.checks if check.backend in passing]),
        *_drift(report.drift, [curve for curve in baseline.drift if curve.backend in passing]),
        *(_slower(move) for move in _moves(report, baseline) if move.verdict == "slower"),
    )


def _row(before: ParityRow, now: ParityRow | None) -> Iterator[Regression]:
    """A row that has results is judged by them, one that has none by its status."""
    if not before.results:
        return
    if now is None or not now.results:
        if before.status == "pass":
            text = "not run" if now is None else f"{now.status}: {now.reason}"
            yield _regression(before.backend, "row", "pass", text)
        return
    yield from _gone(before, now)
    for output in dict.fromkeys(result.output for result in before.results):
        yield from _output(before, now, output)


def _gone(before: ParityRow, now: ParityRow) -> Iterator[Regression]:
    kept = {result.case for result in now.results}
    lost = dict.fromkeys(result.case for result in before.results if result.case not in kept)
    if lost:
        yield _regression(before.backend, "cases", f"{before.cases} ran", f"{len(lost)} did not: {_listed(lost)}")


def _output(before: ParityRow, now: ParityRow, output: str) -> Iterator[Regression]:
    """One line for the cases that now fail, and one for those whose error grew; of each the worst case by name."""
    old = {result.case: result for result in before.results if result.output == output and result}
    pairs = [(old[new.case], new) for new in now.results if new.output == output and new.case in old]
    failed = [(was, new) for was, new in pairs if not new]
    if failed:
        was, new = max(failed, key=lambda pair: pair[1].share)
        now_text = f"{len(failed)} of {len(pairs)} cases fail, {new.case}: {_result(new)}"
        yield _regression(before.backend, output, f"passed, {was.case}: {_error(was)}", now_text)
    grown = [pair for pair in pairs if pair[1] and _grew(_error_of(pair[0]), _error_of(pair[1]), pair[1].float32_error)]
    if grown:
        was, new = max(grown, key=lambda pair: pair[1].share)
        others = f" and {len(grown) - 1} more" if len(grown) > 1 else ""
        yield _regression(before.backend, output, f"{was.case}: {_error(was)}", f"{_error(new)}{others}")


def _checks(now: Iterable[CheckResult], before: Iterable[CheckResult]) -> Iterator[Regression]:
    found = {(check.backend, check.check): check for check in now}
    for was in before:
        new = found.get((was.backend, was.check))
        if was.status == "pass" and (new is None or new.status != "pass"):
            text = "not run" if new is None else f"{new.status}: {new.detail}"
            yield Regression(kind="check", backend=was.backend, subject=was.check, before="pass", now=text)


def _drift(now: Iterable[DriftCurve], before: Iterable[DriftCurve]) -> Iterator[Regression]:
    found = {curve.backend: curve for curve in now}
    for was in before:
        new = found.get(was.backend)
        text = f"{was.worst_error:.1e} at most"
        if was.status != "pass":
            continue
        if new is None or new.status != "pass":
            lost = "not run" if new is None else f"{new.status}: {new.reason or f'{new.worst_error:.1e}'}"
            yield Regression(kind="drift", backend=was.backend, subject="drift", before=f"pass, {text}", now=lost)
        elif new.steps == was.steps and _grew(was.worst_error, new.worst_error, max(new.float32_errors, default=0.0)):
            grown = f"{new.worst_error:.1e} at most"
            yield Regression(kind="drift", backend=was.backend, subject="drift", before=text, now=grown)


def _moves(report: VerificationReport, baseline: VerificationReport) -> tuple[Move, ...]:
    if report.latency is None or baseline.latency is None or _unlike(report, baseline):
        return ()
    same = not differences(baseline.fingerprint, report.fingerprint)
    return compare_latency(baseline.latency, report.latency, same_machine=same)


def _unlike(report: VerificationReport, baseline: VerificationReport) -> str:
    """What makes the two latencies incomparable."""
    now, before = report.latency, baseline.latency
    if now is None or before is None:
        return ""
    shapes = [
        ", ".join([*(f"{dim}={size}" for dim, size in sorted(one.sizes.items())), f"{one.threads} CPU threads"])
        for one in (before, now)
    ]
    return "" if shapes[0] == shapes[1] else f"it was measured at {shapes[0]}, now at {shapes[1]}"


def _notes(report: VerificationReport, baseline: VerificationReport) -> tuple[str, ...]:
    """What was not judged, and what else differs between the two reports."""
    notes = [f"differs: {text}" for text in differences(baseline.fingerprint, report.fingerprint)]
    if report.model_sha256 != baseline.model_sha256:
        notes.append("the model's file is another one, of the same weights")
    if report.latency is None or baseline.latency is None:
        notes.append(
            f"latency is not judged: {'no figures now' if baseline.latency else 'the baseline has no figures'}"
        )
    elif unlike := _unlike(report, baseline):
        notes.append(f"latency is not judged: {unlike}")
    judged = {move.backend for move in _moves(report, baseline)}
    timed = [row.backend for row in baseline.latency.rows] if judged and baseline.latency else []
    lost = [name for name in timed if report.latency and name not in {row.backend for row in report.latency.rows}]
    return (*notes, *(f"latency of {name} is not judged: no figures now" for name in lost))


def _slower(move: Move) -> Regression:
    before, now = (f"{value.value:.4g} {move.unit}" for value in (move.before, move.now))
    text = f"{now} ({move.change:+.0%}, beyond the noise of {move.threshold:.0%})"
    return Regression(kind="latency", backend=move.backend, subject=move.subject, before=before, now=text)


def _grew(before: float, now: float, float32_error: float) -> bool:
    return now > GROWTH * before and now > float32_error


def _error_of(result: CaseParity) -> float:
    return result.closeness.max_error if result.closeness else float("inf")


def _error(result: CaseParity) -> str:
    return f"{_error_of(result):.1e}"


def _result(result: CaseParity) -> str:
    return result.problem or f"{_error(result)} against a limit of {result.limit:.1e}"


def _regression(backend: str, subject: str, before: str, now: str) -> Regression:
    return Regression(kind="parity", backend=backend, subject=subject, before=before, now=now)


def _listed(names: Mapping[str, None]) -> str:
    first = list(names)[:3]
    return ", ".join(first) + ("" if len(names) <= 3 else f" and {len(names) - 3} more")
