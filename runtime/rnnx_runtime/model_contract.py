"""The contract of a whole model: every input and output by name, and which of them are states of recurrent layers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

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


DecoderForm = Literal["step", "unrolled", "loop"]
TokenFeed = Literal["argmax", "teacher"]


@dataclass(frozen=True, kw_only=True)
class DecoderPart:
    """How an autoregressive decoder is written, and which of the model's inputs and outputs play which part.

    `token` names the input of tokens, None where the graph starts from `start_token` itself; `logits` and `tokens`
    name outputs, None where a form has none. `steps` and `feed` are None for a step, whose caller feeds it. A row ends
    at `end_token`, and is `pad_token` after it.
    """

    form: DecoderForm
    feed: TokenFeed | None
    steps: int | None
    token: str | None
    logits: str | None
    tokens: str | None
    context: tuple[str, ...]
    start_token: int | None
    end_token: int | None
    pad_token: int | None


@dataclass(frozen=True, kw_only=True)
class ModelContract:
    """What an exported model computes.

    A dim of an input is a size or a symbol; equal symbols are equal sizes. `B` is the batch, `T` the time of the
    sequence, further ones are named by the exporter. A dim of an output may also be an expression of these, such as
    `"(T - 3)//2 + 1"`. `lengths` names the inputs that hold sequence lengths, in 1..T. States that are left out are
    zeros. `decoder` is set for an autoregressive decoder alone.
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
    decoder: DecoderPart | None = None


class Signature(Protocol):
    """What a file's inputs and outputs are, of a layer or of a whole model."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The graph's inputs in order."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The graph's outputs in order."""
