"""From a file that another tool made of a model of rnnx to a sealed model again: verified first, then written."""

import os
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from rnnx.artifacts import staged
from rnnx.errors import OptionError
from rnnx.extras import require
from rnnx.graphs.model_targets import check_model_target
from rnnx.graphs.value_checks import check_values
from rnnx.parity.results import all_hold
from rnnx.progress import ProgressListener
from rnnx.reports.verification_report import VerificationReport
from rnnx.runners.sources import read_subject
from rnnx.runners.subject import Subject
from rnnx.runners.verify_options import VerifyOptions, check_kind
from rnnx.truths.golden import golden_path, read_golden
from rnnx.truths.model_golden import read_model_golden
from rnnx.truths.truth import CaseTruth
from rnnx.verifying.verification import verify
from rnnx_runtime.contract import Batching, Contract

ROWS = ("ort-cpu",)
"""What a file is held to before it is sealed, unless other rows are named: every host has it."""


_OF_ROWS = ("batch-order", "batch-mates", "batch-split")
"""The checks of what `Batching.rows` says."""


@dataclass(frozen=True, kw_only=True)
class SealReport:
    """What came of a file. True where it was sealed; else `path` and `golden` are None and nothing was written.

    `verification` decided it. `contract` is the sealed file's, `changes` what became other in the graph and in what the
    contract promises, in words, `nodes` its nodes by operator, `bytes` the size of the model without its golden file.
    """

    verification: VerificationReport
    contract: Contract
    path: Path | None = None
    golden: Path | None = None
    changes: tuple[str, ...] = ()
    nodes: dict[str, int] | None = None
    bytes: int = 0
    check: str = ""

    def __bool__(self) -> bool:
        return self.path is not None


def seal(
    model: str | os.PathLike[str],
    path: str | os.PathLike[str],
    options: VerifyOptions,
    *,
    listener: ProgressListener | None = None,
) -> SealReport:
    """Verify what another tool made of a model of rnnx, and write it under that one's contract where it passes.

    The file at `path` takes and gives what the original does: the same names, dtypes and dims, so that a service needs
    no change. Its precision is that of its graph. The original's golden file is copied beside it. Where its values are
    right and yet a batch's rows or their padding have come to matter to each other, as to a quantizer that has one
    scale for all, the contract says so: a pool refuses such a model, and a verification holds it to nothing else.

    Args:
        model: the .onnx that the tool wrote.
        path: the .onnx to write.
        options: `like` is the original, with its golden file beside it; `names`, `checkpoint`, `model`, `matrix` and
            `backends` as for `verify`, of which ONNX Runtime on CPU is the only row unless others are named. No latency
            is measured.
        listener: is told how far the call is.

    Raises:
        OptionError: no original, or an input or output of it has no counterpart in the file.
        GoldenError: the original's golden file is missing, damaged, or another's.
        FileDamagedError, ContractError: one of the two is damaged, or the original was not written by rnnx.
        OutputError: the files could not be written.
        ExportError: the sealed file gives other values than the file did, which is a defect of rnnx.
    """
    check_kind(options, VerifyOptions)
    if options.like is None:
        raise OptionError(
            "like", got="none", expected="the model of rnnx that the file was made from", remedy="give its .onnx"
        )
    source, target = Path(model), Path(path)
    require("onnx_ir", extra="export", purpose="sealing a model")
    check_model_target(target, inputs=(source, Path(options.like), golden_path(Path(options.like))))
    options = replace(options, backends=options.backends or ROWS, latency=False)
    report = verify(source, options, listener=listener)
    subject = read_subject(source, options.sources)
    batching = batching_left(subject.contract.batching, report)
    if batching is None:
        return SealReport(verification=report, contract=subject.contract)
    return _written(subject, target, report, batching)


def batching_left(batching: Batching, report: VerificationReport) -> Batching | None:
    """What is left of what the original promises of rows and padding; None where more than that is broken."""
    broken = [own for own in report.checks if own.status == "fail"]
    if not report.parity or not all_hold(report.drift) or {own.check for own in broken} - {*_OF_ROWS, "padding"}:
        return None
    if not broken:
        return batching
    return replace(
        batching,
        rows="coupled" if any(own.check in _OF_ROWS for own in broken) else batching.rows,
        padding="read" if any(own.check == "padding" for own in broken) else batching.padding,
        reason=f"the file that was sealed failed {', '.join(dict.fromkeys(own.check for own in broken))}",
    )


def _written(subject: Subject, target: Path, report: VerificationReport, batching: Batching) -> SealReport:
    from rnnx.graphs.model_writing import write_model
    from rnnx.sealing.sealed_graph import changes_of, sealed_graph

    assert subject.foreign is not None
    assert subject.like is not None
    graph = sealed_graph(subject.foreign)
    contract = replace(_contract(subject.contract, subject.like, graph.opset_imports[""]), batching=batching)
    less = () if batching == subject.contract.batching else (_promise(batching),)
    with staged(target) as stage:
        golden_path(stage / target.name).write_bytes(subject.golden.read_bytes())
        nodes = write_model(stage / target.name, graph, contract)
        check = check_values(stage / target.name, _truth(subject), contract)
        size = sum(file.stat().st_size for file in stage.iterdir() if file.name != golden_path(target).name)
    return SealReport(
        verification=report,
        contract=contract,
        path=target,
        golden=golden_path(target),
        changes=(*changes_of(subject.foreign), *less),
        nodes=nodes,
        bytes=size,
        check=check,
    )


def _promise(batching: Batching) -> str:
    return f"promises less than the original: rows {batching.rows}, padding {batching.padding}; {batching.reason}"


def _contract(contract: Contract, like: Path, opset: int) -> Contract:
    versions = {**contract.versions, "rnnx": version("rnnx"), "opset": str(opset)}
    return replace(contract, source=replace(contract.source, file=like.name), versions=versions)


def _truth(subject: Subject) -> tuple[CaseTruth, ...]:
    if subject.is_whole:
        return read_model_golden(subject.golden, subject.contract).entries
    return tuple(read_golden(subject.golden, subject.contract))
