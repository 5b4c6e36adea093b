"""A model on its way to a graph: in float32, with its example, what a run of that has shown, and its lifted states."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from rnnx.errors import OptionError
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.constant_inputs import constant_notes, refuse_constant_states, with_constants
from rnnx.tracing.eager import EagerModel
from rnnx.tracing.example_run import ExampleRun, run_example
from rnnx.tracing.operators.scripted_code import check_python_module
from rnnx.tracing.preparation import as_float32, isolated, preserved, unwrapped
from rnnx.tracing.signature import CallSignature, named_as, read_signature
from rnnx.tracing.states.kept_states import refuse_kept_states
from rnnx.tracing.states.lifted_states import LiftedStates, lifted_states
from rnnx_runtime.contract import Contract, Streaming


class StreamClaims(Protocol):
    """What runs a model in chunks, as its proof sees it."""

    @property
    def reach(self) -> int:
        """The largest number of frames that is carried."""

    def claim(self, plain: Collection[str]) -> Streaming:
        """How the model is to stream, of these outputs."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The model in float32: its signature, its example's tensors by name, its results' names and ranks, and its lifted
    states.

    `run` is what a run of the example has shown. `complete` adds to the contract of the trace what the caller alone
    knows. `streamed_from` is the model itself where this one takes chunks, and `program` what runs it so.
    """

    module: nn.Module
    signature: CallSignature
    tensors: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    ranks: Mapping[str, int]
    run: ExampleRun
    lifted: LiftedStates
    notes: tuple[str, ...]
    complete: Callable[[Contract], Contract] = lambda contract: contract
    streamed_from: "Subject | None" = None
    program: StreamClaims | None = None

    def eager(self) -> EagerModel:
        """The model as PyTorch runs it, called without its lifted states."""
        return EagerModel(self.module, self.signature, output_names=self.outputs)

    def with_lifted(self, lifted: LiftedStates) -> "Subject":
        """The same with these lifted states in place of its own."""
        given = {name: tensor for name, tensor in self.tensors.items() if name in self.signature.names}
        return replace(self, lifted=lifted, tensors=given | lifted.zeros(torch.zeros(())))


def read_subject(given: nn.Module, example_inputs: Any, options: ModelOptions) -> Subject:
    """The model isolated and called once with its example.

    Raises:
        OptionError: an option or the example does not fit the model.
        ExportError: the model fails on the example, or keeps a state that no option lifts.
    """
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
    refuse_kept_states(type(module).__name__, run, stateful=bool(options.stateful))
    lifted = lifted_states(module, run, {*signature.names, *outputs}) if options.stateful else LiftedStates()
    _check_lengths(signature, options)
    module, notes = as_float32(module)
    notes = (*notes, *constant_notes(options.constants))
    named = dict(zip(signature.names, map(_exported_dtype, tensors), strict=True))
    return Subject(
        module=module,
        signature=signature,
        tensors=named | lifted.zeros(torch.zeros(())),
        outputs=outputs,
        ranks=dict(zip(outputs, run.ranks, strict=True)),
        run=run,
        lifted=lifted,
        notes=notes,
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
