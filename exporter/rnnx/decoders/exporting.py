"""From a trained decoder to a checked .onnx in one of three forms, with its contract and golden file."""

import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnx.artifacts import staged
from rnnx.decoders.decoder_graph import DecoderGraph
from rnnx.decoders.decoder_options import DecoderOptions, check_options
from rnnx.decoders.decoder_writing import moved, write_decoder
from rnnx.decoders.eager_decoder import EagerDecoder
from rnnx.decoders.forecast import check_forecast, forecast
from rnnx.decoders.loop_decoder import loop_graph
from rnnx.decoders.output_names import TOKENS, free_name
from rnnx.decoders.step_export import ExportedStep, export_step
from rnnx.decoders.step_graph import StepGraph
from rnnx.decoders.unrolled_decoder import unrolled_graph
from rnnx.graphs.export_report import ExportReport
from rnnx.graphs.model_targets import check_model_target
from rnnx_runtime.contract import Contract, DecoderPart, Streaming

if TYPE_CHECKING:
    from torch import Tensor, nn


def export_decoder(
    module: "nn.Module",
    example_inputs: tuple[Any, ...] | Mapping[str, Any],
    path: str | os.PathLike[str],
    options: DecoderOptions | None = None,
) -> ExportReport:
    """Export an autoregressive decoder as a step, unrolled, or as a loop.

    The unrolled graph and the loop are made of the step's own graph, so all three hold one and the same recurrence.

    Args:
        module: `forward(token (B,) int64, state, *context) -> (logits (B, V), state)`; the state is a tensor or nested
            tuples of tensors.
        example_inputs: what it is called with.
        path: the .onnx to write; `<name>.golden.npz` is written beside it.
        options: see `DecoderOptions`.

    Raises:
        OptionError: an option or the example does not fit, or an unrolled graph would be too large.
        ExportError: what `rnnx.tracing.exporting.export_model` raises, or a state that changes its shape.
        OutputError: the files could not be written.
    """
    options = options or DecoderOptions()
    check_options(options)
    check_model_target(Path(path))
    if options.form == "step":
        return export_step(module, example_inputs, Path(path), options).report
    with staged(Path(path)) as stage:
        written = stage / Path(path).name
        step = export_step(module, example_inputs, written, options)
        report = _export_many(step, options, written)  # in the place of the step, which has proved its values
    return moved(report, Path(path).parent)


def _export_many(step: ExportedStep, options: DecoderOptions, path: Path) -> ExportReport:
    """Write the graph of many steps."""
    part = decoder_part(step.part, options, step.tensors)
    expected = forecast(step.graph, part) if options.form == "unrolled" else None
    if expected is not None:
        check_forecast(expected, options)
    graph, contract = decoder_graph_of(step.graph, part), decoding_contract(step.contract, part)
    report = write_decoder(path, graph, contract, truth_of(step, part), _example(step, part))
    return replace(report, notes=step.report.notes, forecast=expected)


def decoder_part(step: DecoderPart, options: DecoderOptions, inputs: Collection[str]) -> DecoderPart:
    """What the contract of an unrolled or looping decoder says of its parts, from its step's.

    `inputs` are the names that inputs have and outputs must not.
    """
    teacher = options.feed == "teacher"
    tokens = free_name(TOKENS, set(inputs) - {step.token} if teacher else inputs)
    return replace(
        step,
        form=options.form,
        feed=options.feed,
        steps=options.steps,
        token=None if options.start_token is not None else tokens if teacher else step.token,
        tokens=None if teacher else tokens,
        logits=step.logits if options.form == "unrolled" else None,
    )


def decoding_contract(contract: Contract, part: DecoderPart) -> Contract:
    """The contract of a graph that decodes many steps by itself, and so has no next chunk."""
    streaming = Streaming(kind="no", reason=f"{part.steps} steps of a decoder in one graph")
    return replace(contract, decoder=part, streaming=streaming)


def decoder_graph_of(step: StepGraph, part: DecoderPart) -> DecoderGraph:
    """The graph of an unrolled or looping decoder."""
    return loop_graph(step, part) if part.form == "loop" else unrolled_graph(step, part)


def truth_of(step: ExportedStep, part: DecoderPart) -> EagerDecoder:
    """What PyTorch decodes for the graph of `part`."""
    axes = {spec.name: step.graph.batch_axis(spec) for spec in step.graph.state_inputs}
    return EagerDecoder(step.eager, part, step.graph.token.name, step.graph.states, axes)


def _example(step: ExportedStep, part: DecoderPart) -> dict[str, "Tensor"]:
    """The step's example, its tokens given N times where all are asked for at once."""
    token = step.tensors[step.graph.token.name]
    if part.feed != "teacher":
        return dict(step.tensors)
    return {**step.tensors, part.token or "": token.expand(part.steps or 1, -1).contiguous()}
