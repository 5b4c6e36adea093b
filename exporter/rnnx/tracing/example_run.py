"""The example run in PyTorch before anything is traced: its own error comes first, and what it shows of the layers."""

import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rnnx.errors import ExportError
from rnnx.modules.source_lines import model_line_of
from rnnx.tracing.operators.float_dtypes import reading_floats
from rnnx.tracing.preparation import preserved
from rnnx.tracing.signature import CallSignature, named_outputs
from rnnx.tracing.states.kept_tensors import (
    Holders,
    TensorPlace,
    holders_of,
    kept_tensors,
    placed_tensors,
    restored_values,
)
from rnnx.tracing.states.layer_states import LayerCall, recorded_calls
from rnnx.tracing.states.value_origins import ValueOrigins
from rnnx_runtime.errors import RnnxError

_EARLIER = "an earlier call"
"""The label of what a call computed from its inputs, in the next call."""


@dataclass(frozen=True, kw_only=True)
class ExampleRun:
    """The results' names and ranks, the recurrent layers' calls, and what the model keeps from call to call.

    `kept` are the tensors that a call reads and leaves others in their place, `holders` the attributes and buffers they
    are in. `carries` says that results come from something else of the call before, and `repeats` that a second call
    gave the same, with the same random numbers.
    """

    outputs: tuple[str, ...]
    ranks: tuple[int, ...]
    calls: tuple[LayerCall, ...]
    kept: Mapping[TensorPlace, Tensor]
    holders: Holders
    carries: bool
    repeats: bool


def run_example(
    module: nn.Module, signature: CallSignature, tensors: Sequence[Tensor], output_names: Sequence[str] | None
) -> ExampleRun:
    """Run the model on its example twice, as it is; what that writes into its tensors is undone.

    What a model reads and leaves behind is a fact of the calls: that a state has faded from the results of a long
    example does not hide it.

    Raises:
        ExportError: the model fails on it; says how and in which line.
        OptionError: `output_names` do not fit.
    """
    origins = ValueOrigins()
    with preserved(module), restored_values(module):
        result = named_outputs(_results(module, signature, tensors, origins), output_names)
        origins.replace_all(_EARLIER)
        before = kept_tensors(module)
        versions = {place: value._version for place, value in before.items()}
        computed = {place for place, value in before.items() if origins.of(value)}
        for value in before.values():
            origins.relabel(value)
        for place, value in before.items():
            origins.label((value,), _label(place))
        example = {place: value.detach().clone() for place, value in before.items()}
        holders = holders_of(module, before)
        with recorded_calls(module, origins) as calls:
            again = named_outputs(_results(module, signature, tensors, origins), output_names)
        after = kept_tensors(module)
        written = [
            place
            for place, value in before.items()
            if after.get(place) is not value or value._version != versions[place]
        ]
        read = origins.of([*again.values(), *(after[place] for place in written if place in after)])
        kept = {place: example[place] for place in example if _label(place) in read and place in {*written, *computed}}
        carries = _EARLIER in read or any(_other_shape(after.get(place), value) for place, value in kept.items())
    repeats = _alike(result, again)
    own = {(place.module, place.attribute) for place in kept}
    holders = {holder: value for holder, value in holders.items() if holder in own}
    if kept and not carries:
        starts = {place: torch.zeros_like(value) for place, value in kept.items()}
        for placed, expected in ((starts, result), (kept, again)):
            values = {place: value.clone() for place, value in placed.items()}
            with preserved(module), restored_values(module), placed_tensors(module, values, holders):
                found = named_outputs(_results(module, signature, tensors), output_names)
            carries = carries or not _alike(found, expected)
    return ExampleRun(
        outputs=tuple(result),
        ranks=tuple(value.dim() for value in result.values()),
        calls=tuple(calls),
        kept=kept,
        holders=holders,
        carries=carries,
        repeats=repeats,
    )


def _label(place: TensorPlace) -> str:
    return f"kept {place.name}"


def _other_shape(value: Tensor | None, before: Tensor) -> bool:
    return value is None or value.shape != before.shape or value.dtype != before.dtype


def _results(
    module: nn.Module, signature: CallSignature, tensors: Sequence[Tensor], origins: ValueOrigins | None = None
) -> Any:
    given = [tensor.clone() for tensor in tensors]
    for name, tensor in zip(signature.names, given, strict=True) if origins else ():
        origins.label((tensor,), f"input {name}")  # type: ignore[union-attr]
    with (
        torch.no_grad(),
        torch.random.fork_rng(devices=[]),
        warnings.catch_warnings(),
        reading_floats(module, torch.float32),
        origins or nullcontext(),
    ):
        torch.manual_seed(0)
        warnings.simplefilter("ignore")  # what PyTorch advises does not concern the export
        try:
            return signature.call(module, given)
        except RnnxError:
            raise
        except Exception as error:
            raise _refusal(module, error) from error


def _alike(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        value.shape == second[name].shape
        and torch.allclose(value.double(), second[name].double(), rtol=1e-4, atol=1e-5, equal_nan=True)
        for name, value in first.items()
    )


def _refusal(module: nn.Module, error: Exception) -> ExportError:
    lines = str(error).strip().splitlines() or ["no message"]
    text = f"{type(error).__name__}: {lines[0]}"[:300]
    expected, remedy = "inputs that the model itself runs on", "call the model on them in PyTorch first"
    if "CPU int64 tensor" in text:
        expected = "lengths as an int64 tensor on the CPU, as pack_padded_sequence wants them"
        remedy = "give lengths.to('cpu', torch.int64) in the example, or write that in forward"
    elif "greater than 0" in text:
        expected, remedy = "lengths of 1 at least", "leave empty sequences out of the example, and of the batch later"
    return ExportError(
        f"example inputs of {type(module).__name__}",
        got=f"{text} (at {model_line_of(error)})",
        expected=expected,
        remedy=remedy,
    )
