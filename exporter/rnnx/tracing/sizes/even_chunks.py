"""`chunk` of a free axis that divides evenly, such as `chunk(2, 0)` of both directions in one batch, as slices.

PyTorch makes its parts `(2 B + 1) // 2` long, which it does not know to be `B`, and torch.onnx cannot count them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import SymInt, Tensor
from torch.fx.experimental.symbolic_shapes import statically_known_true


@contextmanager
def even_chunks() -> Iterator[None]:
    """Let even parts of a free axis be slices of it inside the block."""
    original: Any = torch.chunk

    def chunk(input: Tensor, chunks: int, dim: int = 0) -> Any:  # noqa: A002 - as PyTorch names it
        size: Any = input.shape[dim]
        if not isinstance(size, SymInt) or not statically_known_true(size % chunks == 0):
            return original(input, chunks, dim)
        part = size // chunks
        return tuple(input.narrow(dim, place * part, part) for place in range(chunks))

    with mock.patch.object(torch, "chunk", chunk), mock.patch.object(Tensor, "chunk", chunk):
        yield
