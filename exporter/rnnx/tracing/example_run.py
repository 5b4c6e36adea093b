"""The example run in PyTorch before anything is traced: its own error comes first, and what it shows of the layers."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rnnx.errors import ExportError
from rnnx.modules.source_lines import model_line_of
from rnnx.tracing.float_dtypes import reading_floats
from rnnx.tracing.layer_states import LayerCall, recorded_calls
from rnnx.tracing.preparation import changed_tensors, plain_tensors
from rnnx.tracing.signature import CallSignature, named_outputs
from rnnx_runtime.errors import RnnxError


@dataclass(frozen=True, kw_only=True)
class ExampleRun:
    """The names and ranks of the results, the attributes that were set to other tensors, each recurrent layer's calls.

    `repeats` says that a second call gave the same results, with the same random numbers.
    """

    outputs: tuple[str, ...]
    ranks: tuple[int, ...]
    assigned: tuple[str, ...]
    calls: dict[str, list[LayerCall]]
    repeats: bool


def run_example(
    module: nn.Module, signature: CallSignature, tensors: Sequence[Tensor], output_names: Sequence[str] | None
) -> ExampleRun:
    """Run the model on its example as it is.

    Raises:
        ExportError: the model fails on it; says how and in which line.
        OptionError: `output_names` do not fit.
    """
    before = plain_tensors(module)
    with recorded_calls(module) as calls:
        result = named_outputs(_results(module, signature, tensors), output_names)
    assigned = tuple(changed_tensors(module, before))
    again = named_outputs(_results(module, signature, tensors), output_names)
    return ExampleRun(
        outputs=tuple(result),
        ranks=tuple(value.dim() for value in result.values()),
        assigned=assigned,
        calls=calls,
        repeats=_alike(result, again),
    )


def _results(module: nn.Module, signature: CallSignature, tensors: Sequence[Tensor]) -> Any:
    with (
        torch.no_grad(),
        torch.random.fork_rng(devices=[]),
        warnings.catch_warnings(),
        reading_floats(module, torch.float32),
    ):
        torch.manual_seed(0)
        warnings.simplefilter("ignore")  # what PyTorch advises does not concern the export
        try:
            return signature.call(module, [tensor.clone() for tensor in tensors])
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
