"""From any model with recurrent layers in it to a checked .onnx with its contract and golden file."""

import functools
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor, nn

from rnnx.artifacts import check_targets, staged
from rnnx.errors import FrozenDimError, OptionError, UntracedError
from rnnx.extras import require
from rnnx.graphs.engine_notes import engine_notes
from rnnx.graphs.export_checks import checked_export
from rnnx.graphs.export_report import ExportReport
from rnnx.graphs.model_writing import name_values, write_model
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.data_paths import lengths_inputs, state_inputs, state_pairs
from rnnx.tracing.dims import (
    DimNames,
    axes_to_fix,
    free_axes,
    input_shapes,
    name_dims,
    output_values,
    refuse_unsolved_dims,
)
from rnnx.tracing.eager import EagerModel
from rnnx.tracing.example_run import run_example
from rnnx.tracing.fewer_axes import (
    Choice,
    Free,
    fixed_note,
    fixes_a_layer,
    input_lines,
    step_note,
    traced_roles,
    with_fewer_axes,
)
from rnnx.tracing.frozen_dims import refuse_frozen_dims, refuse_no_recurrence
from rnnx.tracing.inner_axes import inner_notes
from rnnx.tracing.layer_states import LiftedState, lifted_states, recurrent_layers
from rnnx.tracing.layer_weights import PRECISION
from rnnx.tracing.masked_rows import keep_masked_rows
from rnnx.tracing.moving_axes import Axis, AxisTrials, axis_trials
from rnnx.tracing.packing import PADDED_NOTE
from rnnx.tracing.preparation import as_float32, fixed_weights, isolated, preserved, unwrapped
from rnnx.tracing.recurrence_nodes import RecurrenceNode, recurrence_nodes
from rnnx.tracing.row_proof import batching_of
from rnnx.tracing.signature import CallSignature, named_as, read_signature
from rnnx.tracing.splicing import splice_recurrences
from rnnx.tracing.squeezed_axes import keep_free_axes, squeezed_notes
from rnnx.tracing.streaming_proof import streaming_of
from rnnx.tracing.tracing import Trace, kept_state, refuse_half_results, trace_model
from rnnx.tracing.translation import model_opset_of, onnx_from_program
from rnnx.tracing.turns import own_turn
from rnnx.tracing.weights_digest import weights_sha256
from rnnx.truths.golden import golden_path
from rnnx.truths.model_golden import ModelTruth, model_golden_bytes, model_truth
from rnnx.truths.truth import CaseTruth
from rnnx_runtime.contract import Contract, Source, StatePair, Streaming, TensorSpec


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """The model in float32: its signature, its example's tensors by name, its results' names and ranks, and its lifted
    states.

    `assigned` names the attributes that a call sets to other tensors, `repeats` says that a second call gives the same.
    """

    module: nn.Module
    signature: CallSignature
    tensors: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    ranks: Mapping[str, int]
    assigned: tuple[str, ...]
    repeats: bool
    lifted: tuple[LiftedState, ...]
    notes: tuple[str, ...]


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
    options, target = options or ModelOptions(), Path(path)
    if target.suffix != ".onnx":
        raise OptionError(
            "output", got=str(target), expected="a file name ending in .onnx", remedy="name one, such as model.onnx"
        )
    check_targets(target, golden_path(target))
    opset = model_opset_of(options.opset)
    for package in ("onnx", "onnxscript", "spox"):
        require(package, extra="export", purpose="exporting a whole model")
    with own_turn():
        return _exported(module, example_inputs, target, options, opset)


@dataclass(frozen=True, kw_only=True)
class _Graph:
    """The model traced and written: its contract so far, its truth, and its graph with placeholders for layers."""

    trace: Trace
    recurrences: Sequence[RecurrenceNode]
    contract: Contract
    names: DimNames
    squeezed: tuple[str, ...]
    truth: ModelTruth
    model: ir.Model

    @property
    def is_doubtful(self) -> bool:
        """Whether PyTorch takes no other sizes than the example's, though there are free dims: those are not right."""
        return bool(self.contract.free_dims and self.truth.left_out) and len(self.truth.entries) == 1


def _exported(module: nn.Module, example_inputs: Any, target: Path, options: ModelOptions, opset: int) -> ExportReport:
    subject = _subject(isolated(unwrapped(module)), example_inputs, options)
    eager = EagerModel(subject.module, subject.signature, output_names=subject.outputs, lifted=subject.lifted)
    report, notes = _written(subject, eager, target, options, opset)
    return replace(report, notes=(*subject.notes, *report.notes, *notes))


def _finished(graph: _Graph, subject: _Subject, eager: EagerModel, target: Path) -> ExportReport:
    """The graph with its layers spliced in and its contract complete, checked and in its place."""
    trace, names, truth, model = graph.trace, graph.names, graph.truth, graph.model
    name_values(model, graph.contract.inputs, graph.contract.outputs)
    contract = replace(graph.contract, recurrent=splice_recurrences(model, subject.module))
    with preserved(subject.module):
        times = {own.layer: names.dims([own.time])[0] for own in graph.recurrences if own.time is not None}
        contract = replace(
            contract,
            streaming=streaming_of(eager, contract, subject.tensors, times),
            batching=batching_of(eager, contract, subject.tensors),
        )
    golden = model_golden_bytes(truth, contract.source.weights_sha256)
    contract = replace(contract, golden_sha256=hashlib.sha256(golden).hexdigest())
    with staged(target) as stage:
        (stage / golden_path(target).name).write_bytes(golden)
        nodes = write_model(stage / target.name, model, contract)
        written = stage / target.name
        remedy, cut = "write this part of the model in another way", PADDED_NOTE in trace.notes
        checked = checked_export(written, truth.entries, contract, remedy=remedy, cut=cut)
        refused = engine_notes(written, checked.findings)
    return ExportReport(
        path=target,
        golden=golden_path(target),
        contract=contract,
        nodes=nodes,
        bytes=checked.bytes,
        checks=checked.checks,
        source=contract.source.file,
        notes=(*trace.notes, *names.notes, *graph.squeezed, *refused),
    )


def _subject(module: nn.Module, example_inputs: Any, options: ModelOptions) -> _Subject:
    signature, tensors = read_signature(module, example_inputs)
    signature = named_as(signature, options.input_names)
    with preserved(module):
        run = run_example(module, signature, tensors, options.output_names)
    outputs = tuple(f"{name}_out" if name in signature.names else name for name in run.outputs)
    lifted = lifted_states(module, run.calls, {*signature.names, *outputs}) if options.stateful else ()
    _check_lengths(signature, options)
    module, notes = as_float32(module)
    named = dict(zip(signature.names, map(_exported_dtype, tensors), strict=True))
    states = {
        pair.input: torch.zeros(shape)
        for state in lifted
        for pair, shape in zip(state.pairs, state.shapes, strict=True)
    }
    return _Subject(
        module=module,
        signature=signature,
        tensors=named | states,
        outputs=outputs,
        ranks=dict(zip(outputs, run.ranks, strict=True)),
        assigned=run.assigned,
        repeats=run.repeats,
        lifted=lifted,
        notes=notes,
    )


def _written(
    subject: _Subject, eager: EagerModel, target: Path, options: ModelOptions, opset: int
) -> tuple[ExportReport, tuple[str, ...]]:
    """The model with every axis free that can be, or with fewer where it takes that; and notes on those."""
    names, tensors = list(subject.tensors), list(subject.tensors.values())
    free = free_axes(names, tensors, options)
    given = len(subject.signature.names)

    def attempt(free: Free) -> _Graph:
        with preserved(subject.module), fixed_weights(subject.module):
            trace, recurrences = _traced(subject, options, free)
        contract, dims = _contract(subject, trace, recurrences, options, opset)
        squeezed = squeezed_notes(trace.program, dims)
        with preserved(subject.module):
            truth = _with_all_axes(model_truth(eager, contract, subject.tensors), contract)
        keep_free_axes(trace.program)
        keep_masked_rows(trace.program)
        return _Graph(
            trace=trace,
            recurrences=recurrences,
            contract=contract,
            names=dims,
            squeezed=squeezed,
            truth=truth,
            model=onnx_from_program(trace.program, opset),
        )

    def trials() -> AxisTrials:
        return axis_trials(subject.module, subject.signature, tensors[:given], free[:given])

    def is_right(found: _Graph, fixed: frozenset[Axis]) -> bool:
        sizes = [tensors[place].shape[axis] for place, axis in fixed]
        return not found.is_doubtful and not fixes_a_layer(found.recurrences, sizes)

    named = frozenset(place for place, name in enumerate(names) if name in options.dims)
    choice = Choice(free=free, given=given, named=named)
    found, report, fixed, taken = with_fewer_axes(
        attempt, lambda graph: _finished(graph, subject, eager, target), is_right, choice, trials, tensors, names
    )
    return report, (*fixed_note(taken, names, tensors), *step_note(found.recurrences, fixed, tensors))


def _traced(subject: _Subject, options: ModelOptions, free: Free) -> tuple[Trace, list[RecurrenceNode]]:
    names, tensors = list(subject.tensors), list(subject.tensors.values())

    def trace(free: Free) -> Trace:
        return trace_model(
            subject.module,
            subject.signature,
            tensors,
            free,
            output_names=subject.outputs,
            lifted=subject.lifted,
            assigned=subject.assigned,
        )

    found = trace(free)
    if not subject.repeats:
        raise kept_state(type(subject.module).__name__, (*subject.assigned, "forward")[0])
    refuse_half_results(found)
    _refuse_other_ranks(subject, found)
    recurrences = list(recurrence_nodes(found.program))
    states = state_inputs(found.program, names, recurrences)
    fixed = axes_to_fix(found.program, input_shapes(found.program, names), recurrences, states)
    if fixed:
        found = trace(
            tuple(
                tuple(own and (name, axis) not in fixed for axis, own in enumerate(axes))
                for name, axes in zip(names, free, strict=True)
            )
        )
    recurrences = list(recurrence_nodes(found.program))
    kinds = {name: type(own).__name__ for name, own in recurrent_layers(subject.module).items()}
    if not options.static:
        try:
            refuse_frozen_dims(found, names, recurrences, kinds)
        except FrozenDimError as error:
            if options.dims or subject.lifted:
                raise
            shapes = list(input_shapes(found.program, names).values())
            lines = input_lines(names, tensors, traced_roles(shapes, recurrences))
            remedy = f"{error.remedy}; where the size is the model's own, such as its bands, fix that axis: {lines}"
            raise FrozenDimError(error.subject, got=error.got, expected=error.expected, remedy=remedy) from None
        own = [one for one in found.specializations if one.input < len(names) and not one.is_weights]
        found = replace(found, notes=(*found.notes, *dict.fromkeys(inner_notes(own, recurrences, names))))
    refuse_no_recurrence(found, type(subject.module).__name__)
    return found, recurrences


def _contract(
    subject: _Subject, trace: Trace, recurrences: Sequence[RecurrenceNode], options: ModelOptions, opset: int
) -> tuple[Contract, DimNames]:
    shapes = input_shapes(trace.program, list(subject.tensors))
    names = name_dims(trace.program, shapes, recurrences, options)
    lifted = tuple(pair for state in subject.lifted for pair in state.pairs)
    # A table of lengths, such as the words of each sentence, is flattened by the model: no row is one sequence's.
    found = [name for name in lengths_inputs(trace.program, list(shapes), recurrences) if len(shapes[name]) == 1]
    contract = Contract(
        inputs=tuple(
            TensorSpec(name=name, dtype=_dtype_name(subject.tensors[name]), dims=names.dims(shape))
            for name, shape in shapes.items()
        ),
        outputs=tuple(
            TensorSpec(name=name, dtype=_dtype_name(value), dims=names.dims(value.shape))
            for name, value in zip(trace.outputs, output_values(trace.program), strict=True)
        ),
        states=_joined(lifted, state_pairs(trace.program, list(shapes), trace.outputs, recurrences)),
        lengths=tuple(dict.fromkeys((*found, *options.lengths))),
        recurrent=(),
        streaming=Streaming(kind="no", reason="not proved yet"),
        precision=PRECISION,
        source=Source(file=type(subject.module).__name__, module="", weights_sha256=weights_sha256(subject.module)),
        versions={**_package_versions(), "opset": str(opset)},
    )
    refuse_unsolved_dims(contract)
    return contract, names


def _with_all_axes(truth: ModelTruth, contract: Contract) -> ModelTruth:
    """The cases in which PyTorch gave every axis that the graph has: a `squeeze` drops one of size 1, as noted."""
    found, left_out = list[CaseTruth](), list(truth.left_out)
    for own in truth.entries:
        dropped = [spec.name for spec in contract.outputs if own.truth[spec.name].ndim != len(spec.dims)]
        if dropped:
            left_out.append(f"{own.case.name}: PyTorch drops an axis of size 1 of output {dropped[0]}")
        else:
            found.append(own)
    return ModelTruth(entries=tuple(found), left_out=tuple(left_out))


def _refuse_other_ranks(subject: _Subject, trace: Trace) -> None:
    """Refuse a trace that keeps an axis which the model drops in its example; raises UntracedError."""
    for name, value in zip(trace.outputs, output_values(trace.program), strict=True):
        rank = subject.ranks.get(name, value.dim())
        if rank != value.dim():
            raise UntracedError(
                f"output {name}",
                got=f"{rank} axes from PyTorch on the example: a squeeze drops those of size 1",
                expected="an example with more than one of what the model squeezes, such as two rows and two steps",
                remedy="give a larger example, or name the axis in the model: squeeze(dim)",
            )


def _joined(lifted: tuple[StatePair, ...], found: tuple[StatePair, ...]) -> tuple[StatePair, ...]:
    named = {pair.input for pair in lifted}
    return (*lifted, *(pair for pair in found if pair.input not in named))


def _check_lengths(signature: CallSignature, options: ModelOptions) -> None:
    unknown = [name for name in options.lengths if name not in signature.names]
    if unknown:
        raise OptionError(
            "lengths", got=repr(unknown[0]), expected=f"one of {', '.join(signature.names)}", remedy="name an input"
        )


def _exported_dtype(tensor: Tensor) -> Tensor:
    """An example's tensor as the graph takes it: float32, int64 or bool, on the CPU."""
    if tensor.is_floating_point():
        return tensor.detach().to("cpu", torch.float32)
    return tensor.cpu() if tensor.dtype == torch.bool else tensor.to("cpu", torch.int64)


def _dtype_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


@functools.cache
def _package_versions() -> dict[str, str]:
    return {package: version(package) for package in ("rnnx", "torch", "onnx", "onnxscript", "spox")}
