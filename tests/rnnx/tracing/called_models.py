"""Models that take their inputs in every way a contract can name them: nested, renamed, by keyword, with constants."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


class Streamed(nn.Module):
    """Takes a nested state, which may be left out."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 8, batch_first=True)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        output, following = self.lstm(x, state)
        return output, following


class Scaled(nn.Module):
    """Takes a constant that no input of the contract stands for."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(5, 8, batch_first=True)

    def forward(self, x: Tensor, factor: float = 1.0, *, bias: Tensor | None = None) -> Tensor:
        output: Tensor = self.gru(x)[0] * factor
        return output if bias is None else output + bias


class Variadic(nn.Module):
    """Names none of its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(5, 8, batch_first=True)

    def forward(self, *inputs: Tensor) -> Tensor:
        first, second = inputs
        output: Tensor = self.gru(first)[0] + second
        return output


class Swapped(nn.Module):
    """Has the weights of `Scaled`, and computes something else."""

    def __init__(self, change: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.gru = nn.GRU(5, 8, batch_first=True)
        self._change = change

    def forward(self, x: Tensor) -> Any:
        return self._change(self.gru(x)[0])
