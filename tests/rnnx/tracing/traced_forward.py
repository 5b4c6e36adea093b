"""A function of one tensor as an exported program, every axis free, traced as a model is in a context of a test's."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram


class _Model(nn.Module):
    def __init__(self, forward: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self._forward = forward

    def forward(self, x: Tensor) -> Any:
        return self._forward(x)


def traced(forward: Callable[[Tensor], Any], x: Tensor, context: AbstractContextManager[Any]) -> ExportedProgram:
    shapes = ((Dim.AUTO,) * x.dim(),)
    with context, torch.no_grad():
        return torch.export.export(_Model(forward), (x,), dynamic_shapes=shapes, strict=False)


def run(program: ExportedProgram, x: Tensor) -> Any:
    """The program's result, whatever its guards say of the sizes."""
    return program.graph_module(x)[0]
