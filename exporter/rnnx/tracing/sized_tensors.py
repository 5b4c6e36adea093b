"""`len(x)` of a tensor in the model's code, which Python makes a plain number and so the example's size."""

import builtins
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


@contextmanager
def sized_tensors(module: nn.Module) -> Iterator[None]:
    """Let `len(x)` be `x.size(0)` inside the block, in the files that the model's classes are written in.

    Elsewhere, as in PyTorch's own code, `len` is Python's. For a tensor with values both are one number.
    """
    names = {type(own).__module__ for own in module.modules()}
    files = [vars(sys.modules[name]) for name in sorted(names) if name.split(".")[0] != "torch" and name in sys.modules]
    changed = [own for own in files if "len" not in own]
    for own in changed:
        own["len"] = _size
    try:
        yield
    finally:
        for own in changed:
            del own["len"]


def _size(value: Any) -> Any:
    return value.size(0) if isinstance(value, Tensor) and value.dim() else builtins.len(value)
