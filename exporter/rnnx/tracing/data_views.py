"""`p.data` in a model's code, such as `next(self.parameters()).data.new_zeros(…)`: the tensor itself in a trace.

torch.export sees no attribute being read, and would take what it gives for a constant that it does not know.
"""

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_DATA = torch.Tensor.data.__get__  # type: ignore[attr-defined]


class DataViews(TorchFunctionMode):
    """Reads `x.data` as `x.detach()`, which shares its memory too."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return args[0].detach() if func == _DATA else func(*args, **(kwargs or {}))
