"""From any model with recurrent layers in it to a checked .onnx with its contract and golden file."""

import hashlib
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx_ir as ir
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from rnnx.artifacts import staged
from rnnx.extras import require
from rnnx.graphs.engine_notes import engine_notes
from rnnx.graphs.export_checks import CheckedExport, checked_export
from rnnx.graphs.export_report import ExportReport
from rnnx.graphs.model_targets import check_model_target
from rnnx.graphs.model_writing import name_values, write_model
from rnnx.graphs.value_checks import ValuesDifferError
from rnnx.modules.model_options import ModelOptions
from rnnx.proofs.row_proof import batching_of
from rnnx.proofs.stream_proof import prove_stream
from rnnx.proofs.streaming_proof import streaming_of
from rnnx.tracing.constant_inputs import of_inputs_left
from rnnx.tracing.eager import EagerModel
from rnnx.tracing.loops.scans import write_scans
from rnnx.tracing.operators.masked_rows import keep_masked_rows
from rnnx.tracing.operators.rewriting import write_with_forms
from rnnx.tracing.preparation import fixed_weights, preserved
from rnnx.tracing.recurrence_nodes import RecurrenceNode
from rnnx.tracing.sizes.dims import (
    DimNames,
    free_axes,
    input_shapes,
)
from rnnx.tracing.sizes.fewer_axes import (
    Choice,
    Free,
    fixed_note,
    fixes_a_layer,
    step_note,
    with_fewer_axes,
)
from rnnx.tracing.sizes.floor_divisions import keep_floors
from rnnx.tracing.sizes.guarded_sizes import guarded_sizes, with_ranges
from rnnx.tracing.sizes.moving_axes import Axis, AxisTrials, axis_trials
from rnnx.tracing.sizes.proof import SizeProof
from rnnx.tracing.sizes.squeezed_axes import keep_free_axes, squeezed_notes
from rnnx.tracing.sizes.trimmed_slices import keep_whole_slices
from rnnx.tracing.splicing import splice_recurrences
from rnnx.tracing.states.lifted_states import start_notes
from rnnx.tracing.streams.streamed_trace import streamed_trace
from rnnx.tracing.subject import Subject, read_subject
from rnnx.tracing.traced_contract import traced_contract
from rnnx.tracing.tracing import Trace
from rnnx.tracing.translation import model_opset_of, onnx_from_program
from rnnx.tracing.turns import own_turn
from rnnx.tracing.watched_layers import running
from rnnx.truths.golden import golden_path
from rnnx.truths.model_golden import ModelTruth, model_golden_bytes
from rnnx.truths.torch_reference import torch_threads
from rnnx_runtime.contract import Contract, Streaming


@dataclass(frozen=True, kw_only=True)
class ExportedModel:
    """What was written, and the model's graph in memory, of which other graphs can be made."""

    report: ExportReport
    model: ir.Model


def export_model(
    module: nn.Module,
    example_inputs: tuple[Any, ...] | Mapping[str, Any],
    path: str | os.PathLike[str],
    options: ModelOptions | None = None,
) -> ExportReport:
    """Export a trained model with recurrent layers in it to ONNX, batch and time free.

    Args:
        module: the model, in evaluation mode; it is left as it was.
        example_inputs: what it is called with: a tuple, or a dict by parameter name.
        path: the .onnx to write; `<name>.golden.npz` is written beside it, and `<name>.onnx.data` for weights above
            2 GiB. Files appear whole or not at all.
        options: see `ModelOptions`.

    Several threads may export at once; they take turns.

    Raises:
        OptionError: an option or the example does not fit the model.
        ExportError: the model fails on the example, cannot be traced, a checker refused the graph, or it gives other
            values than the model at some size.
        FrozenDimError: the model fixes its batch or time; names the input, the axis and the model's line.
        WeightsError: a recurrent layer's weights are NaN or infinite.
        OutputError: the files could not be written.
        MissingExtraError: a package of `rnnx[export]` is not installed.
    """
    return exported_model(module, example_inputs, Path(path), options or ModelOptions()).report


def exported_model(
    module: nn.Module,
    example_inputs: tuple[Any, ...] | Mapping[str, Any],
    target: Path,
    options: ModelOptions,
    complete: Callable[[Contract], Contract] = lambda contract: contract,
) -> ExportedModel:
    """Export a model as `export_model` does, and keep its graph.

    `complete` adds to the contract of the trace what the caller alone knows, before anything is proved of it.
    """
    check_model_target(target)
    opset = model_opset_of(options.opset)
    for package in ("onnx", "onnxscript", "spox"):
        require(package, extra="export", purpose="exporting a whole model")
    with own_turn(), _threads_for(example_inputs):
        options = of_inputs_left(options)
        subject = replace(read_subject(module, example_inputs, options), complete=complete)
        return _exported(subject, target, options, opset)


FEW = 2**16
"""So many numbers of an example are few: PyTorch's threads then wait for each other longer than they compute."""


def _threads_for(example: Any) -> AbstractContextManager[None]:
    """One thread of PyTorch for a small example, which the models are then run at the sizes of; else all of them."""
    count = sum(own.numel() for own in tree_leaves(example) if isinstance(own, Tensor))
    return torch_threads(1) if count <= FEW else nullcontext()


@dataclass(frozen=True, kw_only=True)
class _Graph:
    """The model traced and written: its contract so far, its truth, and its graph with placeholders for layers."""

    subject: Subject
    trace: Trace
    recurrences: Sequence[RecurrenceNode]
    contract: Contract
    names: DimNames
    squeezed: tuple[str, ...]
    proof: SizeProof
    truth: ModelTruth
    model: ir.Model

    @property
    def is_doubtful(self) -> bool:
        """Whether PyTorch takes no other sizes than the example's, though there are free dims: those are not right."""
        return bool(self.contract.free_dims and self.truth.left_out) and len(self.truth.entries) == 1


def _exported(subject: Subject, target: Path, options: ModelOptions, opset: int) -> ExportedModel:
    found, notes = _written(subject, target, options, opset)
    report = replace(found.report, notes=(*subject.notes, *found.report.notes, *notes))
    return replace(found, report=report)


def _finished(graph: _Graph, target: Path) -> ExportedModel:
    """The graph with its layers spliced in and its contract complete, checked and in its place."""
    subject = graph.subject
    name_values(graph.model, graph.contract.inputs, graph.contract.outputs)
    contract = replace(graph.contract, recurrent=splice_recurrences(graph.model, subject.module, graph.trace.cells))
    write_scans(graph.model)
    with preserved(subject.module), staged(target) as stage:
        contract, nodes, checked = _proved(graph, contract, stage / target.name)
        refused = engine_notes(checked.findings)
    report = ExportReport(
        path=target,
        golden=golden_path(target),
        contract=contract,
        nodes=nodes,
        bytes=checked.bytes,
        checks=checked.checks,
        source=contract.source.file,
        notes=(
            *start_notes(subject.run, subject.lifted, {pair.input for pair in contract.states}),
            *graph.trace.notes,
            *graph.names.notes,
            *graph.proof.guarded.notes(contract.ranges),
            *graph.squeezed,
            *refused,
        ),
    )
    return ExportedModel(report=report, model=graph.model)


def _proved(graph: _Graph, contract: Contract, written: Path) -> tuple[Contract, dict[str, int], CheckedExport]:
    """Write the model with its golden file and run it at all sizes; the contract leaves out those of another way.

    Raises:
        FrozenDimError: the model goes another way at sizes that make no range.
        ExportError: a checker refused the graph, or it gives other values than the model.
    """
    proof, truth = graph.proof, graph.truth
    while True:
        narrower = proof.without_refused(contract, truth)
        if narrower != contract:
            contract, truth = narrower, proof.truth(narrower)
            continue
        complete = replace(
            contract,
            streaming=_streaming(graph, contract),
            batching=batching_of(running(proof.eager), contract, proof.example),
        )
        golden = model_golden_bytes(truth, contract.source.weights_sha256)
        complete = replace(complete, golden_sha256=hashlib.sha256(golden).hexdigest())
        golden_path(written).write_bytes(golden)
        nodes = write_model(written, graph.model, complete)
        remedy = "write this part of the model in another way"
        tried = replace(truth, entries=(*truth.entries, *proof.far_entries(contract)))
        try:
            return complete, nodes, checked_export(written, tried.entries, complete, remedy=remedy)
        except ValuesDifferError as error:
            contract = proof.narrowed(contract, tried, error)
            truth = proof.truth(contract)


def _streaming(graph: _Graph, contract: Contract) -> Streaming:
    """How the model streams: as it was planned and is proved here, or as it does by itself."""
    subject, proof = graph.subject, graph.proof
    if subject.streamed_from is None or subject.program is None:
        return streaming_of(running(proof.eager), contract, proof.example, proof.times)
    claimed = subject.program.claim([spec.name for spec in contract.plain_outputs])
    with fixed_weights(subject.streamed_from.module):  # a norm of weights is in the trace as float32 has it
        prove_stream(
            running(proof.eager),
            running(subject.streamed_from.eager()),
            replace(contract, streaming=claimed),
            proof.example,
            reach=subject.program.reach,
        )
    return claimed


def _written(
    given_subject: Subject, target: Path, options: ModelOptions, opset: int
) -> tuple[ExportedModel, tuple[str, ...]]:
    """The model with every axis free that can be, or with fewer where it takes that; and notes on those."""
    names, tensors = list(given_subject.tensors), list(given_subject.tensors.values())
    free = free_axes(names, tensors, options)
    given = len(given_subject.signature.names)

    def attempt(free: Free) -> _Graph:
        with preserved(given_subject.module), fixed_weights(given_subject.module):
            (subject, trace, recurrences), own = streamed_trace(given_subject, options, free)
        names = list(subject.tensors)
        contract, dims = traced_contract(subject, trace, recurrences, own, opset)
        squeezed = squeezed_notes(trace.program, dims)
        proof = SizeProof(
            eager=EagerModel(subject.module, subject.signature, output_names=subject.outputs, lifted=subject.lifted),
            example=subject.tensors,
            guarded=guarded_sizes(trace.program, trace.guards, dims.names, input_shapes(trace.program, names)),
            times={own.layer: dims.dims([own.time])[0] for own in recurrences if own.time is not None},
            rolled=frozenset(map(dims.dim_of, trace.rolled)),
        )
        contract = with_ranges(contract, proof.guarded.known_ranges)
        with preserved(subject.module):
            truth = proof.truth(contract)
        keep_free_axes(trace.program)
        keep_whole_slices(trace.program, proof.guarded.guards)
        keep_floors(trace.program)
        write_with_forms(trace.program)
        keep_masked_rows(trace.program)
        return _Graph(
            subject=subject,
            trace=trace,
            recurrences=recurrences,
            contract=contract,
            names=dims,
            squeezed=squeezed,
            proof=proof,
            truth=truth,
            model=onnx_from_program(trace.program, opset),
        )

    def trials() -> AxisTrials:
        return axis_trials(given_subject.module, given_subject.signature, tensors[:given], free[:given])

    def is_right(found: _Graph, fixed: frozenset[Axis], moved: Collection[str]) -> bool:
        sizes = [tensors[place].shape[axis] for place, axis in fixed]
        return not found.is_doubtful and not fixes_a_layer(found.recurrences, sizes, moved)

    named = frozenset(place for place, name in enumerate(names) if name in options.dims)
    choice = Choice(free=free, given=given, named=named)
    found, exported, fixed, taken, stopped_at = with_fewer_axes(
        attempt, lambda graph: _finished(graph, target), is_right, choice, trials, tensors, names
    )
    notes = fixed_note(taken, names, tensors, stopped_at)
    return exported, (*notes, *step_note(found.recurrences, fixed, tensors))
