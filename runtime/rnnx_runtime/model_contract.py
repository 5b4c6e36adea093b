"""The contract of a whole model: every input and output by name, and which of them are states of recurrent layers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rnnx_runtime.contract import CellKind, Source, TensorSpec


@dataclass(frozen=True, kw_only=True)
class RecurrentPart:
    """A recurrent layer or cell inside a model: its place there (`encoder.lstm`), its sizes, and how it is written."""

    name: str
    cell: CellKind
    is_cell: bool
    input_size: int
    hidden_size: int
    projection_size: int
    layers: int
    directions: int
    formulation: str


@dataclass(frozen=True, kw_only=True)
class StatePair:
    """A state that goes round: the input it comes in by and the output that the next call takes, of equal shape."""

    input: str
    output: str


@dataclass(frozen=True, kw_only=True)
class ModelContract:
    """What an exported model computes.

    A dim of an input is a size or a symbol; equal symbols are equal sizes. `B` is the batch, `T` the time of the
    sequence, further ones are named by the exporter. A dim of an output may also be an expression of these, such as
    `"(T - 3)//2 + 1"`. `lengths` names the inputs that hold sequence lengths, in 1..T. States that are left out are
    zeros.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    states: tuple[StatePair, ...]
    lengths: tuple[str, ...]
    recurrent: tuple[RecurrentPart, ...]
    precision: str
    source: Source
    versions: Mapping[str, str] = field(default_factory=dict)
    golden_sha256: str = ""
