"""A decoder's step exported as a whole model, with what the other forms need of it."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
from torch import Tensor, nn

from rnnx.decoders.decoder_call import DecoderCall, read_decoder_call
from rnnx.decoders.decoder_options import DecoderOptions
from rnnx.decoders.step_graph import StepGraph, read_step
from rnnx.decoders.vocabulary import check_tokens
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.eager import EagerModel
from rnnx.tracing.exporting import export_model
from rnnx.tracing.preparation import as_float32
from rnnx_runtime.contract import Contract, DecoderPart, Streaming


@dataclass(frozen=True, kw_only=True)
class ExportedStep:
    """A decoder's step: its contract, its graph taken apart, its truth in PyTorch, its example, and notes."""

    contract: Contract
    part: DecoderPart
    graph: StepGraph
    eager: EagerModel
    tensors: Mapping[str, Tensor]
    notes: tuple[str, ...]


def export_step(
    module: nn.Module, example_inputs: tuple[Any, ...] | Mapping[str, Any], options: DecoderOptions
) -> ExportedStep:
    """Export a decoder's step as any whole model is, checks included, and take its graph apart; no file stays.

    Raises what `export_decoder` says.
    """
    call = read_decoder_call(module, example_inputs)
    check_tokens(call.logits_of, options)
    chosen = ModelOptions(output_names=call.output_names, static=options.static, opset=options.opset)
    with tempfile.TemporaryDirectory() as folder:
        report = export_model(call.module, example_inputs, Path(folder) / "step.onnx", chosen)
        model = onnx.load(report.path)
    part = _part(call, options)
    streaming = Streaming(kind="exact") if call.states else report.contract.streaming
    contract = replace(report.contract, decoder=part, states=call.states, streaming=streaming, golden_sha256="")
    exported, _ = as_float32(call.module)
    return ExportedStep(
        contract=contract,
        part=part,
        graph=read_step(model, contract),
        eager=EagerModel(exported, call.signature, output_names=call.output_names),
        tensors={spec.name: call.tensors[spec.name] for spec in contract.inputs},
        notes=report.notes,
    )


def _part(call: DecoderCall, options: DecoderOptions) -> DecoderPart:
    return DecoderPart(
        form="step",
        feed=None,
        steps=None,
        token=call.token,
        logits=call.logits,
        tokens=None,
        context=call.context,
        start_token=options.start_token,
        end_token=options.end_token,
        pad_token=options.pad_token,
    )
