"""From any model with recurrent layers in it to a checked .onnx with its contract and golden file."""

import contextlib
import functools
import hashlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
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
from rnnx.graphs.export_checks import CheckedExport, checked_export
from rnnx.graphs.export_report import ExportReport
from rnnx.graphs.model_writing import name_values, write_model
from rnnx.graphs.value_checks import ValuesDifferError
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.blended_states import blended_pairs
from rnnx.tracing.constant_inputs import constant_notes, of_inputs_left, refuse_constant_states, with_constants
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
from rnnx.tracing.example_run import ExampleRun, run_example
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
from rnnx.tracing.fixed_axes import FixedAxes
from rnnx.tracing.frozen_dims import refuse_frozen_dims
from rnnx.tracing.guarded_sizes import guarded_sizes, with_ranges
from rnnx.tracing.inner_axes import inner_notes
from rnnx.tracing.kept_states import refuse_kept_states
from rnnx.tracing.layer_states import recurrent_layers
from rnnx.tracing.layer_weights import PRECISION
from rnnx.tracing.lifted_states import LiftedStates, lifted_states, start_notes
from rnnx.tracing.loops.markers import loop_nodes, recurrences_beside_loops
from rnnx.tracing.loops.rolling import Unrolling, first_trace, rolled_trace, told_why
from rnnx.tracing.loops.scans import write_scans
from rnnx.tracing.masked_rows import keep_masked_rows
from rnnx.tracing.moving_axes import Axis, AxisTrials, axis_trials
from rnnx.tracing.named_states import joined_states, named_states
from rnnx.tracing.operator_rewriting import write_with_forms
from rnnx.tracing.preparation import as_float32, fixed_weights, isolated, preserved, unwrapped
from rnnx.tracing.recurrence_nodes import RecurrenceNode, recurrence_nodes
from rnnx.tracing.row_proof import batching_of
from rnnx.tracing.scripted_code import check_python_module
from rnnx.tracing.signature import CallSignature, named_as, read_signature
from rnnx.tracing.size_proof import SizeProof
from rnnx.tracing.splicing import splice_recurrences
from rnnx.tracing.squeezed_axes import keep_free_axes, squeezed_notes
from rnnx.tracing.streaming_proof import streaming_of
from rnnx.tracing.table_lookups import table_sizes
from rnnx.tracing.tracing import Trace, refuse_half_results, trace_model
from rnnx.tracing.translation import model_opset_of, onnx_from_program
from rnnx.tracing.turns import own_turn
from rnnx.tracing.weights_digest import weights_sha256
from rnnx.truths.golden import golden_path
from rnnx.truths.model_golden import ModelTruth, model_golden_bytes
from rnnx_runtime.contract import Contract, Source, Streaming, TensorSpec


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """The model in float32: its signature, its example's tensors by name, its results' names and ranks, and its lifted
    states.

    `run` is what a run of the example has shown.
    """

    module: nn.Module
    signature: CallSignature
    tensors: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    ranks: Mapping[str, int]
    run: ExampleRun
    lifted: LiftedStates
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
    proof: SizeProof
    truth: ModelTruth
    model: ir.Model

    @property
    def is_doubtful(self) -> bool:
        """Whether PyTorch takes no other sizes than the example's, though there are free dims: those are not right."""
        return bool(self.contract.free_dims and self.truth.left_out) and len(self.truth.entries) == 1


def _exported(module: nn.Module, example_inputs: Any, target: Path, options: ModelOptions, opset: int) -> ExportReport:
    options = of_inputs_left(options)
    subject = _subject(module, example_inputs, options)
    eager = EagerModel(subject.module, subject.signature, output_names=subject.outputs, lifted=subject.lifted)
    report, notes = _written(subject, eager, target, options, opset)
    return replace(report, notes=(*subject.notes, *report.notes, *notes))


def _finished(graph: _Graph, subject: _Subject, target: Path) -> ExportReport:
    """The graph with its layers spliced in and its contract complete, checked and in its place."""
    name_values(graph.model, graph.contract.inputs, graph.contract.outputs)
    contract = replace(graph.contract, recurrent=splice_recurrences(graph.model, subject.module))
    write_scans(graph.model)
    with preserved(subject.module), staged(target) as stage:
        contract, nodes, checked = _proved(graph, contract, stage / target.name)
        refused = engine_notes(stage / target.name, checked.findings)
    return ExportReport(
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
            streaming=streaming_of(proof.eager, contract, proof.example, proof.times),
            batching=batching_of(proof.eager, contract, proof.example),
        )
        golden = model_golden_bytes(truth, contract.source.weights_sha256)
        complete = replace(complete, golden_sha256=hashlib.sha256(golden).hexdigest())
        golden_path(written).write_bytes(golden)
        nodes = write_model(written, graph.model, complete)
        remedy = "write this part of the model in another way"
        try:
            return complete, nodes, checked_export(written, truth.entries, complete, remedy=remedy)
        except ValuesDifferError as error:
            contract = proof.narrowed(contract, truth, error)
            truth = proof.truth(contract)


def _subject(given: nn.Module, example_inputs: Any, options: ModelOptions) -> _Subject:
    module = isolated(unwrapped(given))
    signature, tensors = read_signature(module, example_inputs)
    check_python_module(given, module, signature, tensors)
    signature = named_as(signature, options.input_names)
    given_signature = signature
    signature, tensors = with_constants(signature, tensors, options.constants)
    with preserved(module):
        run = run_example(module, signature, tensors, options.output_names)
        refuse_constant_states(module, given_signature, signature, tensors, options.constants)
    outputs = tuple(f"{name}_out" if name in signature.names else name for name in run.outputs)
    refuse_kept_states(type(module).__name__, run, stateful=options.stateful)
    lifted = lifted_states(module, run, {*signature.names, *outputs}) if options.stateful else LiftedStates()
    _check_lengths(signature, options)
    module, notes = as_float32(module)
    notes = (*notes, *constant_notes(options.constants))
    named = dict(zip(signature.names, map(_exported_dtype, tensors), strict=True))
    return _Subject(
        module=module,
        signature=signature,
        tensors=named | lifted.zeros(torch.zeros(())),
        outputs=outputs,
        ranks=dict(zip(outputs, run.ranks, strict=True)),
        run=run,
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
        proof = SizeProof(
            eager=eager,
            example=subject.tensors,
            guarded=guarded_sizes(trace.program, trace.guards, dims.names, input_shapes(trace.program, names)),
            times={own.layer: dims.dims([own.time])[0] for own in recurrences if own.time is not None},
        )
        contract = with_ranges(contract, proof.guarded.known_ranges)
        with preserved(subject.module):
            truth = proof.truth(contract)
        keep_free_axes(trace.program)
        write_with_forms(trace.program)
        keep_masked_rows(trace.program)
        return _Graph(
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
        return axis_trials(subject.module, subject.signature, tensors[:given], free[:given])

    def is_right(found: _Graph, fixed: frozenset[Axis]) -> bool:
        sizes = [tensors[place].shape[axis] for place, axis in fixed]
        return not found.is_doubtful and not fixes_a_layer(found.recurrences, sizes)

    named = frozenset(place for place, name in enumerate(names) if name in options.dims)
    choice = Choice(free=free, given=given, named=named)
    found, report, fixed, taken = with_fewer_axes(
        attempt, lambda graph: _finished(graph, subject, target), is_right, choice, trials, tensors, names
    )
    return report, (*fixed_note(taken, names, tensors), *step_note(found.recurrences, fixed, tensors))


def _traced(subject: _Subject, options: ModelOptions, free: Free) -> tuple[Trace, list[RecurrenceNode]]:
    names, whole = list(subject.tensors), list(subject.tensors.values())

    def trace(tensors: Sequence[Tensor], free: Sequence[Sequence[bool]], longest: int | None = None) -> Trace:
        return trace_model(
            subject.module,
            subject.signature,
            tensors,
            free,
            output_names=subject.outputs,
            lifted=subject.lifted,
            deterministic=options.deterministic,
            longest=longest,
        )

    found, tensors = first_trace(lambda own, longest: trace(own, free, longest), whole, rolls=not options.static)
    is_cut = tensors is not whole
    refuse_half_results(found)
    _refuse_other_ranks(subject, found)
    eager = EagerModel(subject.module, subject.signature, output_names=subject.outputs, lifted=subject.lifted)
    fixed_axes = FixedAxes(eager=eager, tensors=subject.tensors, trace=found, free=free)
    larger = {} if options.static or is_cut else fixed_axes.larger()
    if any(larger[name].shape != tensor.shape for name, tensor in subject.tensors.items() if larger):
        tensors = list(larger.values())
        found = trace(tensors, free)
    fixed = _axes_to_fix(found, names)
    in_the_way = fixed_axes.with_trace(found, tensors).in_the_way(fixed)
    if in_the_way:
        free = _without(free, in_the_way, names)
        found = trace(tensors, free)
        fixed = _axes_to_fix(found, names)
    if fixed:
        fixed_axes.with_trace(found, tensors).refuse_tied(fixed)
        free = _without(free, fixed, names)
        found = trace(tensors, free)
    unrolling = Unrolling(module=subject.module, trace=trace, tensors=tensors)
    rolled = None if options.static else rolled_trace(unrolling, found, free)
    if isinstance(rolled, Trace):
        found, recurrences = rolled, recurrences_beside_loops(rolled.program)
    else:
        found = trace(whole, free) if is_cut else found
        recurrences = list(recurrence_nodes(found.program))
    kinds = {name: type(own).__name__ for name, own in recurrent_layers(subject.module).items()}
    if not options.static:
        roles = traced_roles(list(input_shapes(found.program, names).values()), recurrences)
        lines = "" if options.dims or subject.lifted.pairs else input_lines(names, tensors, roles)
        with _told_how_to_fix(lines), told_why(rolled):
            refuse_frozen_dims(found, names, recurrences, {} if isinstance(rolled, Trace) else kinds)
        own = [one for one in found.specializations if one.input < len(names) and not one.is_weights]
        found = replace(found, notes=(*found.notes, *dict.fromkeys(inner_notes(own, recurrences, names))))
        notes = replace(fixed_axes.with_trace(found, tensors), free=free).refuse(found.calls)
        told = (f"axis {axis} of {name} is fixed, so that the batch can be free" for name, axis in sorted(in_the_way))
        found = replace(found, notes=(*found.notes, *told, *notes))
    return found, recurrences


@contextlib.contextmanager
def _told_how_to_fix(lines: str) -> Iterator[None]:
    """Add to a refusal of a fixed axis inside the block the options that fix it on purpose."""
    try:
        yield
    except FrozenDimError as error:
        if not lines:
            raise
        remedy = f"{error.remedy}; where the size is the model's own, such as its bands, fix that axis: {lines}"
        raise FrozenDimError(error.subject, got=error.got, expected=error.expected, remedy=remedy) from None


def _axes_to_fix(found: Trace, names: Sequence[str]) -> set[tuple[str, int]]:
    recurrences = list(recurrence_nodes(found.program))
    states = state_inputs(found.program, names, recurrences)
    return axes_to_fix(found.program, input_shapes(found.program, names), recurrences, states)


def _without(free: Free, fixed: Collection[tuple[str, int]], names: Sequence[str]) -> Free:
    return tuple(
        tuple(own and (name, axis) not in fixed for axis, own in enumerate(axes))
        for name, axes in zip(names, free, strict=True)
    )


def _contract(
    subject: _Subject, trace: Trace, recurrences: Sequence[RecurrenceNode], options: ModelOptions, opset: int
) -> tuple[Contract, DimNames]:
    shapes = input_shapes(trace.program, list(subject.tensors))
    loops = list(loop_nodes(trace.program))
    names = name_dims(trace.program, shapes, [*recurrences, *loops], options)
    # A table of lengths, such as the words of each sentence, is flattened by the model: no row is one sequence's.
    found = [name for name in lengths_inputs(trace.program, list(shapes), recurrences) if len(shapes[name]) == 1]
    inputs = tuple(
        TensorSpec(name=name, dtype=_dtype_name(subject.tensors[name]), dims=names.dims(shape))
        for name, shape in shapes.items()
    )
    outputs = tuple(
        TensorSpec(name=name, dtype=_dtype_name(value), dims=names.dims(value.shape))
        for name, value in zip(trace.outputs, output_values(trace.program), strict=True)
    )
    named = named_states(options.states, inputs, outputs)
    through_layers = state_pairs(trace.program, list(shapes), trace.outputs, [*recurrences, *loops])
    guessed = () if named or recurrences or loops else blended_pairs(trace.program, list(shapes), trace.outputs)
    contract = Contract(
        inputs=inputs,
        outputs=outputs,
        states=joined_states(subject.lifted.pairs, named, through_layers, guessed),
        lengths=tuple(dict.fromkeys((*found, *options.lengths))),
        recurrent=(),
        table_sizes=table_sizes(trace.program, list(shapes)),
        streaming=Streaming(kind="no", reason="not proved yet"),
        precision=PRECISION,
        source=Source(file=type(subject.module).__name__, module="", weights_sha256=weights_sha256(subject.module)),
        versions={**_package_versions(), "opset": str(opset)},
    )
    refuse_unsolved_dims(contract)
    return contract, names


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
