"""An encoder and its decoder called one after the other: what of the one becomes which input of the other."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from rnnx.decoders.output_names import free_name
from rnnx.decoders.pair_options import Seq2SeqOptions
from rnnx.decoders.vocabulary import check_tokens
from rnnx.errors import OptionError
from rnnx.tracing.example_run import run_example
from rnnx.tracing.preparation import unwrapped
from rnnx.tracing.signature import CallSignature, read_signature

_EXPECTED = "encoder(*inputs) -> (state, *context) for decoder(token, state, *context)"


@dataclass(frozen=True, kw_only=True)
class PairCall:
    """Both modules, the encoder's signature and example, and what the decoder is called with after it.

    `passes` maps each of the decoder's inputs but the token to the name of the encoder's output or input; outputs are
    called as the decoder's input is.
    """

    encoder: nn.Module
    decoder: nn.Module
    signature: CallSignature
    tensors: Mapping[str, Tensor]
    decoder_inputs: tuple[Any, ...]
    encoder_outputs: tuple[str, ...]
    passes: Mapping[str, str]


def read_pair_call(
    encoder: nn.Module,
    decoder: nn.Module,
    example_inputs: tuple[Any, ...] | Mapping[str, Any],
    options: Seq2SeqOptions,
) -> PairCall:
    """Run the encoder on its example, and call the decoder on what comes out.

    Raises:
        OptionError: the two do not fit each other, or a token is beyond the vocabulary.
        ExportError: the encoder fails on the example.
    """
    encoder, decoder = unwrapped(encoder), unwrapped(decoder)
    signature, tensors = read_signature(encoder, example_inputs)
    run_example(encoder, signature, tensors, None)
    named = dict(zip(signature.names, tensors, strict=True))
    with torch.no_grad():
        result = signature.call(encoder, tensors)
    if not isinstance(result, tuple | list):
        raise _unfit(f"one {type(result).__name__} from the encoder", "return the state and the context as a tuple")
    rest, taken = _arguments(decoder, tuple(result), named)
    token = _token(decoder, rest, options)
    names = read_signature(decoder, (token, *rest))[0].names[1:]
    count = sum(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves(result))
    outputs = tuple(free_name(name, named) for name in names[:count])
    return PairCall(
        encoder=encoder,
        decoder=decoder,
        signature=signature,
        tensors=named,
        decoder_inputs=(token, *rest),
        encoder_outputs=outputs,
        passes=dict(zip(names, (*outputs, *taken), strict=True)),
    )


def _arguments(
    decoder: nn.Module, result: tuple[Any, ...], inputs: Mapping[str, Tensor]
) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """The decoder's arguments after the token, and the encoder's inputs among them, which it takes by name."""
    _, *parameters = inspect.signature(decoder.forward).parameters.values()
    if len(result) > len(parameters):
        raise _unfit(
            f"{len(result)} results from the encoder for {len(parameters)} arguments after the token",
            "return from the encoder what the decoder takes, in its order",
        )
    taken: list[str] = []
    for own in parameters[len(result) :]:
        if own.name in inputs:
            taken.append(own.name)
        elif own.default is inspect.Parameter.empty:
            raise _unfit(
                f"nothing for the decoder's {own.name!r}",
                "return it from the encoder too, or call it as the encoder's input that it is",
            )
        else:
            break
    return (*result, *(inputs[name] for name in taken)), tuple(taken)


def _token(decoder: nn.Module, rest: tuple[Any, ...], options: Seq2SeqOptions) -> Tensor:
    """Example tokens from all over the vocabulary, whose size the decoder's logits tell; refuses those of no use."""
    first = next((leaf for leaf in pytree.tree_leaves(rest[0]) if isinstance(leaf, Tensor)), None) if rest else None
    if first is None or first.dim() < 1:
        raise _unfit("no state from the encoder", "return the decoder's first state as the first result")
    batch = first.shape[-2] if first.dim() > 1 else first.shape[0]  # (B, H) of a cell, (L, B, H) of a layer
    try:
        size = check_tokens(lambda token: decoder(torch.full((batch,), token), *rest)[0], options.of_loop)
    except OptionError:
        raise
    except Exception as error:
        raise _unfit(
            f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
            "call decoder(token, *encoder(*inputs)) in PyTorch first",
        ) from error
    return torch.arange(batch) * (size - 1) // max(batch - 1, 1)


def _unfit(got: str, remedy: str) -> OptionError:
    return OptionError("the decoder called on what the encoder gives", got=got, expected=_EXPECTED, remedy=remedy)
