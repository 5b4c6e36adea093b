"""From any model with recurrent layers in it to a checked .onnx with its contract and golden file."""

import functools
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rnnx.artifacts import check_targets, staged
from rnnx.errors import ExportError, OptionError
from rnnx.extras import require
from rnnx.graphs.engine_notes import engine_notes
from rnnx.graphs.export_checks import checked_export
from rnnx.graphs.export_report import ExportReport
from rnnx.graphs.model_writing import name_values, write_model
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.data_paths import lengths_inputs, state_inputs, state_pairs
from rnnx.tracing.dims import DimNames, axes_to_fix, free_axes, input_shapes, name_dims, output_values
from rnnx.tracing.eager import EagerModel
from rnnx.tracing.example_run import run_example
from rnnx.tracing.frozen_dims import refuse_frozen_dims, refuse_no_recurrence
from rnnx.tracing.layer_states import LiftedState, lifted_states, recurrent_layers
from rnnx.tracing.layer_weights import PRECISION
from rnnx.tracing.loops.markers import loop_nodes, recurrences_beside_loops
from rnnx.tracing.loops.rolling import Unrolling, first_trace, rolled_trace, told_why
from rnnx.tracing.loops.scans import write_scans
from rnnx.tracing.masked_rows import keep_masked_rows
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
from rnnx.truths.model_cases import EXAMPLE
from rnnx.truths.model_golden import ModelTruth, model_golden_bytes, model_truth
from rnnx.truths.truth import CaseTruth
from rnnx_runtime.contract import Contract, Source, StatePair, Streaming, TensorSpec


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """The model in float32: its signature, its example's tensors by name, its results' names and its lifted states.

    `assigned` names the attributes that a call sets to other tensors, `repeats` says that a second call gives the same.
    """

    module: nn.Module
    signature: CallSignature
    tensors: Mapping[str, Tensor]
    outputs: tuple[str, ...]
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


def _exported(module: nn.Module, example_inputs: Any, target: Path, options: ModelOptions, opset: int) -> ExportReport:
    subject = _subject(isolated(unwrapped(module)), example_inputs, options)
    with preserved(subject.module), fixed_weights(subject.module):
        trace, recurrences = _traced(subject, options)
    contract, names = _contract(subject, trace, recurrences, options, opset)
    squeezed = squeezed_notes(trace.program, names)
    keep_free_axes(trace.program)
    keep_masked_rows(trace.program)
    model = onnx_from_program(trace.program, opset)
    name_values(model, contract.inputs, contract.outputs)
    contract = replace(contract, recurrent=splice_recurrences(model, subject.module))
    write_scans(model)
    eager = EagerModel(subject.module, subject.signature, output_names=subject.outputs, lifted=subject.lifted)
    with preserved(subject.module):
        truth = model_truth(eager, contract, subject.tensors)
        truth = _with_all_axes(truth, contract) if squeezed else truth
        times = {own.layer: names.dims([own.time])[0] for own in recurrences if own.time is not None}
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
        notes=(*subject.notes, *trace.notes, *names.notes, *squeezed, *refused),
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
        assigned=run.assigned,
        repeats=run.repeats,
        lifted=lifted,
        notes=notes,
    )


def _traced(subject: _Subject, options: ModelOptions) -> tuple[Trace, list[RecurrenceNode]]:
    names, tensors = list(subject.tensors), list(subject.tensors.values())
    free = free_axes(names, tensors, options)

    def trace(free: Sequence[Sequence[bool]], tensors: Sequence[Tensor], longest: int | None = None) -> Trace:
        return trace_model(
            subject.module,
            subject.signature,
            tensors,
            free,
            output_names=subject.outputs,
            lifted=subject.lifted,
            assigned=subject.assigned,
            longest=longest,
        )

    found, example = first_trace(lambda own, longest: trace(free, own, longest), tensors, rolls=not options.static)
    if not subject.repeats:
        raise kept_state(type(subject.module).__name__, (*subject.assigned, "forward")[0])
    refuse_half_results(found)
    recurrences = list(recurrence_nodes(found.program))
    states = state_inputs(found.program, names, recurrences)
    fixed = axes_to_fix(found.program, input_shapes(found.program, names), recurrences, states)
    if fixed:
        free = tuple(
            tuple(own and (name, axis) not in fixed for axis, own in enumerate(axes))
            for name, axes in zip(names, free, strict=True)
        )
        found = trace(free, example)
    unrolling = Unrolling(module=subject.module, trace=lambda own, axes: trace(axes, own), tensors=example)
    rolled = None if options.static else rolled_trace(unrolling, found, free)
    if isinstance(rolled, Trace):
        recurrences = recurrences_beside_loops(rolled.program)
        refuse_frozen_dims(rolled, names, recurrences, {})
        return rolled, recurrences
    found = found if example is tensors else trace(free, tensors)
    recurrences = list(recurrence_nodes(found.program))
    kinds = {name: type(own).__name__ for name, own in recurrent_layers(subject.module).items()}
    if not options.static:
        with told_why(rolled):
            refuse_frozen_dims(found, names, recurrences, kinds)
    refuse_no_recurrence(found, type(subject.module).__name__)
    return found, recurrences


def _contract(
    subject: _Subject, trace: Trace, recurrences: Sequence[RecurrenceNode], options: ModelOptions, opset: int
) -> tuple[Contract, DimNames]:
    shapes = input_shapes(trace.program, list(subject.tensors))
    loops = list(loop_nodes(trace.program))
    names = name_dims(trace.program, shapes, [*recurrences, *loops], options)
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
        states=_joined(lifted, state_pairs(trace.program, list(shapes), trace.outputs, [*recurrences, *loops])),
        lengths=tuple(dict.fromkeys((*found, *options.lengths))),
        recurrent=(),
        streaming=Streaming(kind="no", reason="not proved yet"),
        precision=PRECISION,
        source=Source(file=type(subject.module).__name__, module="", weights_sha256=weights_sha256(subject.module)),
        versions={**_package_versions(), "opset": str(opset)},
    )
    return contract, names


def _with_all_axes(truth: ModelTruth, contract: Contract) -> ModelTruth:
    """The cases in which PyTorch gave every axis that the graph has: a `squeeze` drops one of size 1, as a note says.

    Raises:
        ExportError: it drops one of the example's.
    """
    found, left_out = list[CaseTruth](), list(truth.left_out)
    for own in truth.entries:
        dropped = [spec.name for spec in contract.outputs if own.truth[spec.name].ndim != len(spec.dims)]
        if dropped and own.case.name == EXAMPLE:
            raise ExportError(
                f"output {dropped[0]}",
                got=f"{own.truth[dropped[0]].ndim} axes from PyTorch on the example: a squeeze drops those of size 1",
                expected="an example with more than one of what the model squeezes, such as two rows and two steps",
                remedy="give a larger example, or name the axis in the model: squeeze(dim)",
            )
        if dropped:
            left_out.append(f"{own.case.name}: PyTorch drops an axis of size 1 of output {dropped[0]}")
        else:
            found.append(own)
    return ModelTruth(entries=tuple(found), left_out=tuple(left_out))


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
