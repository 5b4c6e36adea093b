"""What a decoder's outputs are called."""

from collections.abc import Collection

LOGITS = "logits"
TOKENS = "tokens"
LENGTHS = "output_lengths"
"""The output that counts a row's tokens before its end; `lengths` is what inputs are called."""


def free_name(name: str, inputs: Collection[str]) -> str:
    """The name of an output, with `_out` behind it where an input is called so."""
    while name in inputs:
        name += "_out"
    return name
