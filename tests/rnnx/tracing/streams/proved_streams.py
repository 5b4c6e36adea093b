"""Streams held against their module at once, without a file."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import nn

from rnnx.modules.model_options import ModelOptions
from rnnx.proofs.stream_proof import prove_stream
from rnnx.tracing.eager import EagerModel
from rnnx.tracing.preparation import preserved
from rnnx.tracing.sizes.dims import free_axes
from rnnx.tracing.streams.streamed_trace import streamed_trace
from rnnx.tracing.subject import read_subject
from rnnx.tracing.traced_contract import traced_contract
from rnnx.tracing.turns import own_turn
from rnnx.tracing.watched_layers import running
from rnnx_runtime.contract import Contract


def proved(
    module: nn.Module, shape: tuple[int, ...], dims: Mapping[str, tuple[str | None, ...]] | None = None
) -> Contract:
    """The contract of a stream that was held against the module at once, in float64."""
    torch.manual_seed(0)
    options = ModelOptions(stateful=True, dims=dims or {})
    subject = read_subject(module.eval(), (torch.randn(shape),), options)
    with own_turn(), preserved(module):
        free = free_axes(list(subject.tensors), list(subject.tensors.values()), options)
        (found, trace, recurrences), options = streamed_trace(subject, options, free)
        contract, _ = traced_contract(found, trace, recurrences, options, 20)
        assert found.program is not None
        assert found.streamed_from is not None
        contract = replace(contract, streaming=found.program.claim([own.name for own in contract.plain_outputs]))
        eager = EagerModel(found.module, found.signature, output_names=found.outputs)
        whole = running(found.streamed_from.eager())
        prove_stream(running(eager), whole, contract, found.tensors, reach=found.program.reach)
    return contract
