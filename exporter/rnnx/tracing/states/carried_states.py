"""What a model's loops carry from step to step, as states of the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from rnnx_runtime.contract import StatePair


class ProgramRun(Protocol):
    """A model's program, of any length, that starts its loops from given states."""

    def results(self, module: nn.Module, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """What it gives for the inputs' tensors, with the weights of `module`."""


@dataclass(frozen=True, kw_only=True)
class CarriedStates:
    """The lifted states of a model's loops: names, zeros at the example's sizes, and the program that has them.

    `inputs` and `outputs` are all names of the program. A start other than zeros is added to the input and taken off
    the output (`offsets`): zeros stand for the model's own start.
    """

    pairs: tuple[StatePair, ...]
    zeros: Mapping[str, Tensor]
    offsets: frozenset[str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    program: ProgramRun

    def is_start(self, tensors: Mapping[str, Tensor]) -> bool:
        """Whether these are the states that the model itself starts from."""
        return not any(bool(tensors[pair.input].count_nonzero()) for pair in self.pairs)

    def run(self, module: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Every output, states included."""
        found = self.program.results(module, [tensors[name] for name in self.inputs])
        return dict(zip(self.outputs, found, strict=True))
