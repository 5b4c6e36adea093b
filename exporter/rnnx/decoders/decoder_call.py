"""How a decoder's `forward` is called: which of its tensors are the token, the state and the context."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from rnnx.decoders.output_names import LOGITS, free_name
from rnnx.errors import ExportError, OptionError
from rnnx.tracing.preparation import unwrapped
from rnnx.tracing.signature import CallSignature, named_outputs, read_signature
from rnnx_runtime.contract import StatePair

_EXPECTED = "forward(token, state, *context) -> (logits, state)"


@dataclass(frozen=True, kw_only=True)
class DecoderCall:
    """A decoder with its signature, its example's tensors, and the names of its parts."""

    module: nn.Module
    signature: CallSignature
    tensors: Mapping[str, Tensor]
    token: str
    logits: str
    states: tuple[StatePair, ...]
    context: tuple[str, ...]

    @property
    def output_names(self) -> tuple[str, ...]:
        """The logits, then the new states."""
        return (self.logits, *(pair.output for pair in self.states))

    def results(self, token: Tensor | None = None) -> list[Tensor]:
        """The logits and the new states of the example, or with another `token (B,)`."""
        first, *others = [tensor.clone() for tensor in self.tensors.values()]  # a decoder may write into its state
        with torch.no_grad():
            result = self.signature.call(self.module, [first if token is None else token, *others])
        return list(named_outputs(result).values())

    def logits_of(self, token: int) -> Tensor:
        """The logits of one token in every row."""
        return self.results(torch.full_like(self.tensors[self.token], token))[0]


def read_decoder_call(module: nn.Module, example_inputs: tuple[Any, ...] | Mapping[str, Any]) -> DecoderCall:
    """Take the example of a decoder's call apart: `(token (B,) int64, state, *context)`.

    Raises:
        OptionError: the example is not of that kind.
        ExportError: the decoder fails on it, or gives something else than logits and its state.
    """
    module = unwrapped(module)
    signature, tensors = read_signature(module, example_inputs)
    token, state, *_ = (*_arguments(module, example_inputs), None, None)
    _check_token(token)
    count = sum(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves(state))
    if not count:
        raise OptionError(
            "example inputs of the decoder",
            got="no state as second argument",
            expected=_EXPECTED,
            remedy="take the recurrent state as an argument and return the new one",
        )
    names = signature.names
    pairs = tuple(StatePair(input=name, output=free_name(f"next_{name}", names)) for name in names[1 : 1 + count])
    call = DecoderCall(
        module=module,
        signature=signature,
        tensors=dict(zip(names, tensors, strict=True)),
        token=names[0],
        logits=free_name(LOGITS, names),
        states=pairs,
        context=names[1 + count :],
    )
    _check_results(call)
    return call


def _arguments(module: nn.Module, example_inputs: tuple[Any, ...] | Mapping[str, Any]) -> Sequence[Any]:
    if not isinstance(example_inputs, Mapping):
        return tuple(example_inputs)
    given = [name for name in inspect.signature(module.forward).parameters if name in example_inputs]
    if list(example_inputs) != given:
        raise OptionError(
            "example inputs of the decoder",
            got=", ".join(map(str, example_inputs)),
            expected=f"the order of forward: {', '.join(given)}",
            remedy="give the token first, then the state, then the context",
        )
    return [example_inputs[name] for name in given]


def _check_token(token: object) -> None:
    if isinstance(token, Tensor) and token.dtype == torch.int64 and token.dim() == 1:
        return
    got = f"{token.dtype} {tuple(token.shape)}" if isinstance(token, Tensor) else type(token).__name__
    raise OptionError(
        "token of the decoder's example",
        got=got,
        expected="int64 (B,)",
        remedy=f"write the decoder as {_EXPECTED} with one token for each row",
    )


def _check_results(call: DecoderCall) -> None:
    """Run the example once, and compare what comes out with what a decoder gives."""
    from rnnx.tracing.example_run import run_example

    run_example(call.module, call.signature, list(call.tensors.values()), None)
    results = call.results()
    states = [call.tensors[pair.input] for pair in call.states]
    shapes = [tuple(value.shape) for value in results]
    batch = len(call.tensors[call.token])
    if len(results) == 1 + len(states) and results[0].dim() == 2 and len(results[0]) == batch:
        wrong = [(new, old) for new, old in zip(results[1:], states, strict=True) if new.shape != old.shape]
        if not wrong:
            return
        got, expected = f"a state {tuple(wrong[0][0].shape)}", f"{tuple(wrong[0][1].shape)}, as it goes in"
    else:
        wanted = [(batch, "V"), *(tuple(state.shape) for state in states)]
        got, expected = f"tensors of shapes {shapes}", f"logits and the state: {wanted}"
    raise ExportError(
        f"results of {type(call.module).__name__}", got=got, expected=expected, remedy=f"write it as {_EXPECTED}"
    )
