"""Lengths that leave PyTorch in a model's code, for NumPy or as a list: in a trace they stay a tensor.

`lengths.cpu().numpy()`, `lengths.tolist()` and `max(lengths)` would make plain numbers of the example's lengths. A
list of `torch.arange(1, 3)` depends on no input, and stays one of plain numbers. A trace loses sight of
`scores.data.masked_fill_(...)` too, which writes into a tensor past its history.
"""

import builtins
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

_NUMBERS = "_rnnx_numbers"
"""Where a tensor of a trace keeps numbers that depend on no input, with its version that has them."""


class TracedList:
    """What `tolist()` of a tensor of a trace gives: a list whose numbers the graph decides."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def __getitem__(self, index: Any) -> Any:
        return listed(self.tensor[index])

    def __iter__(self) -> Iterator[Any]:
        return map(listed, self.tensor)

    def __len__(self) -> int:
        return len(self.tensor)


def listed(tensor: Tensor) -> Any:
    """A tensor's values as Python's: a number of one, else a list."""
    return TracedList(tensor) if tensor.dim() else tensor.item()


def as_tensor(values: Any) -> Tensor:
    """The tensor of what a model hands over as lengths."""
    if isinstance(values, TracedList):
        return values.tensor
    if isinstance(values, Tensor):
        return values
    if any(isinstance(own, Tensor | torch.SymInt) for own in values):
        return torch.stack([own if isinstance(own, Tensor) else torch.tensor(own) for own in values])
    return torch.as_tensor(values)


@contextmanager
def host_values(module: nn.Module) -> Iterator[None]:
    """Let `numpy()`, `tolist()` and `data` of a traced tensor stay in the trace, and `max()` in the model's files.

    For this thread; other tensors, and other threads, have Python's and PyTorch's own.
    """
    owner = threading.get_ident()
    own_numpy: Any = Tensor.numpy
    own_list: Any = FakeTensor.tolist
    own_data: Any = Tensor.data
    own_range: Any = torch.arange

    def is_traced(value: Any) -> bool:
        return isinstance(value, FakeTensor) and threading.get_ident() == owner

    def numpy(self: Tensor, *args: Any, **options: Any) -> Any:
        return self if is_traced(self) else own_numpy(self, *args, **options)

    def tolist(self: Tensor) -> Any:
        numbers, version = vars(self).get(_NUMBERS, (None, 0)) if is_traced(self) else (None, 0)
        if numbers is not None and version == self._version:
            return list(numbers)
        return listed(self) if is_traced(self) else own_list(self)

    def data(self: Tensor) -> Any:
        return self.detach() if is_traced(self) else own_data.__get__(self)

    def arange(*args: Any, **options: Any) -> Any:
        found = own_range(*args, **options)
        if is_traced(found) and args and all(type(own) is int for own in args) and not found.is_floating_point():
            setattr(found, _NUMBERS, (range(*args), found._version))
        return found

    def largest(*values: Any, **options: Any) -> Any:
        if len(values) == 1 and not options:
            if isinstance(values[0], TracedList):
                return values[0].tensor.max().item()
            if is_traced(values[0]) and values[0].dim() == 1:
                return values[0].max()
        return builtins.max(*values, **options)

    names = {type(own).__module__ for own in module.modules()}
    files = [vars(sys.modules[name]) for name in sorted(names) if name.split(".")[0] != "torch" and name in sys.modules]
    changed = [own for own in files if "max" not in own]
    for own in changed:
        own["max"] = largest
    Tensor.numpy = numpy  # type: ignore[method-assign, assignment]
    Tensor.data = property(data, own_data.__set__)  # type: ignore[assignment]
    FakeTensor.tolist = tolist  # type: ignore[method-assign]
    torch.arange = arange
    try:
        yield
    finally:
        del Tensor.numpy
        del Tensor.data
        FakeTensor.tolist = own_list  # type: ignore[method-assign]
        torch.arange = own_range
        for own in changed:
            del own["max"]
