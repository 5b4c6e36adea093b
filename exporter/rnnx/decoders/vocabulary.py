"""The tokens of a decoder's options, held against what the decoder takes and gives."""

from collections.abc import Callable

import torch
from torch import Tensor

from rnnx.decoders.decoder_options import DecoderOptions
from rnnx.errors import OptionError


def check_tokens(logits_of: Callable[[int], Tensor], options: DecoderOptions) -> int:
    """Compare the tokens with the decoder's embedding and its logits; returns how many logits there are.

    `logits_of` calls the decoder with one token in every row; it takes token 0. The start token and the pad token,
    which the decoder is called with, may lie beyond the logits, as long as it has an embedding for them.

    Raises:
        OptionError: the decoder fails on the start or the pad token, or can never give the end token.
    """
    with torch.no_grad():
        size = logits_of(0).shape[-1]
        for name in ("start_token", "pad_token"):
            token = getattr(options, name)
            if token is None:
                continue
            try:
                logits_of(token)
            except (IndexError, RuntimeError):  # of an embedding, of one_hot
                raise _beyond(name, token, "the decoder's embedding") from None
    if options.end_token is not None and options.end_token >= size:
        raise _beyond("end_token", options.end_token, f"{size} logits")
    return size


def _beyond(name: str, token: int, vocabulary: str) -> OptionError:
    return OptionError(
        name,
        got=str(token),
        expected=f"an index within {vocabulary}",
        remedy="give the index of the vocabulary's token",
    )
