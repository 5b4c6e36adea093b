"""A decoder's step exported as a whole model, with what the other forms need of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import onnx_ir as ir
from torch import Tensor, nn

from rnnx.decoders.decoder_call import DecoderCall, read_decoder_call
from rnnx.decoders.decoder_options import DecoderOptions
from rnnx.decoders.step_graph import StepGraph, check_states, read_step
from rnnx.decoders.vocabulary import check_tokens
from rnnx.graphs.export_report import ExportReport
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.eager import EagerModel
from rnnx.tracing.exporting import exported_model
from rnnx.tracing.preparation import as_float32
from rnnx_runtime.contract import Contract, DecoderPart


@dataclass(frozen=True, kw_only=True)
class ExportedStep:
    """A decoder's step as it was written, its graph in memory, its truth in PyTorch, and its example."""

    report: ExportReport
    part: DecoderPart
    model: ir.Model
    eager: EagerModel
    tensors: Mapping[str, Tensor]

    @property
    def contract(self) -> Contract:
        """The step's."""
        return self.report.contract

    @cached_property
    def graph(self) -> StepGraph:
        """The step taken apart, for the graphs that are made of it."""
        return read_step(ir.to_proto(self.model), self.contract)


def export_step(
    module: nn.Module, example_inputs: tuple[Any, ...] | Mapping[str, Any], path: Path, options: DecoderOptions
) -> ExportedStep:
    """Export a decoder's step to `path` as any whole model is, with what its contract says of its parts.

    Raises what `export_decoder` says.
    """
    call = read_decoder_call(module, example_inputs)
    check_tokens(call.logits_of, options)
    chosen = ModelOptions(output_names=call.output_names, static=options.static, opset=options.opset)
    part = _part(call, options)

    def complete(contract: Contract) -> Contract:
        check_states(contract, call.states)
        return replace(contract, decoder=part, states=call.states)

    exported = exported_model(call.module, example_inputs, path, chosen, complete)
    floats, _ = as_float32(call.module)
    return ExportedStep(
        report=exported.report,
        part=part,
        model=exported.model,
        eager=EagerModel(floats, call.signature, output_names=call.output_names),
        tensors={spec.name: call.tensors[spec.name] for spec in exported.report.contract.inputs},
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
