"""The contract of an exported model: what goes in, what comes out, which of it is state, and what computes it.

A bare layer is a model like any other, whose inputs happen to be `x`, `h0`, `c0` and `lengths`; `Contract.bare` is then
its recurrence.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from rnnx_runtime.dim_expressions import symbols_of
from rnnx_runtime.errors import ContractError

Form = Literal["encoder", "step", "unrolled"]
CellKind = Literal["lstm", "gru", "rnn"]
Nonlinearity = Literal["tanh", "relu"]
DecoderForm = Literal["step", "unrolled", "loop"]
TokenFeed = Literal["argmax", "teacher"]
StreamingKind = Literal["exact", "delayed", "chunked", "no"]
RowsKind = Literal["independent", "coupled", "unknown"]
TruthKind = Literal["float64", "onnxruntime-float32"]
PaddingKind = Literal["ignored", "read", "unknown"]
Dim = str | int

LARGEST_SIZE = 2**31 - 1
"""No dim is larger: kernels count in 32 bits."""


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """One input or output: its name, NumPy dtype and dims: sizes, symbols (`"T"`, `"B"`) and expressions of them."""

    name: str
    dtype: str
    dims: tuple[Dim, ...]

    @property
    def shape(self) -> str:
        """The dims as text, such as `(T, B, 10)`."""
        return f"({', '.join(map(str, self.dims))}{',' if len(self.dims) == 1 else ''})"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the weights came from: a file's base name or a class name, a key prefix, a SHA-256 over the values."""

    file: str
    module: str
    weights_sha256: str


@dataclass(frozen=True, kw_only=True)
class StatePair:
    """A state that goes round: the input it comes in by and the output that the next call takes, of equal shape."""

    input: str
    output: str


@dataclass(frozen=True, kw_only=True)
class Recurrence:
    """A recurrent layer or cell: its place in the model, its sizes, what it takes, and how it is written.

    `name` is its place, such as `encoder.lstm`; empty where the model is this layer and nothing else.
    `projection_size` is the width of `h` (equal to `hidden_size` without projection); `nonlinearity` is set for a plain
    RNN and `steps` for the unrolled form, each for that alone. T is time, B is batch; `batch_first` swaps them in `x`
    and `output` only. `state_inputs` and `lengths` say whether it is given initial states, and sequence lengths.
    """

    name: str = ""
    form: Form
    cell: CellKind
    input_size: int
    hidden_size: int
    projection_size: int
    layers: int
    directions: int
    steps: int | None = None
    batch_first: bool = False
    nonlinearity: Nonlinearity | None = None
    state_inputs: bool
    lengths: bool
    formulation: str

    @cached_property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Its inputs in order: `x`, then `h0`, `c0` and `lengths` where it takes them."""
        specs = [_spec("x", *self._sequence(self.input_size))]
        if self.state_inputs:
            specs += self._state("0")
        if self.lengths:
            specs.append(TensorSpec(name="lengths", dtype="int32", dims=("B",)))
        return tuple(specs)

    @cached_property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Its outputs in order: `output` (not of a step), `hn`, and `cn` of an LSTM."""
        specs = self._state("n")
        if self.form != "step":
            specs.insert(0, _spec("output", *self._sequence(self.directions * self.projection_size)))
        return tuple(specs)

    @property
    def states(self) -> tuple[StatePair, ...]:
        """Its states that go round, where it takes initial ones."""
        return self.following if self.state_inputs else ()

    @property
    def following(self) -> tuple[StatePair, ...]:
        """Its last states, and the inputs that a next call would take them by."""
        names = ("h", "c") if self.cell == "lstm" else ("h",)
        return tuple(StatePair(input=f"{name}0", output=f"{name}n") for name in names)

    def _sequence(self, width: int) -> tuple[Dim, ...]:
        match self.form:
            case "step":
                return ("B", width)
            case "unrolled":
                return (self.steps or 0, "B", width)
            case "encoder":
                return ("B", "T", width) if self.batch_first else ("T", "B", width)

    def _state(self, suffix: str) -> list[TensorSpec]:
        lead: tuple[Dim, ...] = (self.layers * self.directions,) if self.form == "encoder" else ()
        specs = [_spec(f"h{suffix}", *lead, "B", self.projection_size)]
        if self.cell == "lstm":
            specs.append(_spec(f"c{suffix}", *lead, "B", self.hidden_size))
        return specs


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
class Streaming:
    """How a sequence in chunks, its states carried, relates to the whole; `reason` says why where it is not exact.

    `exact`: the chunks give the whole, but for rounding. `delayed`: they do so some frames later. `chunked`: they run
    and give something else. `no`: there is no next chunk, for a backward direction or for want of states.

    A file that carries more than its layers' states says so: `caches` are the states that were added for it. `delays`
    says by how many of its frames an output comes late: so many at the start of a stream are none of the whole. After a
    sequence of N frames `lookahead` further ones bring the last results; `lengths` says how many frames an output of
    the whole has, as an expression of N. `position` names the state that counts the steps that came before, and `end`
    the one that tells the graph where a sequence ends: N from the call on that holds frames after the end, 0 before.
    `shortest` is the least that N may be.
    """

    kind: StreamingKind
    reason: str = ""
    caches: tuple[str, ...] = ()
    delays: Mapping[str, int] = field(default_factory=dict)
    lookahead: int = 0
    lengths: Mapping[str, str] = field(default_factory=dict)
    position: str = ""
    end: str = ""
    shortest: int = 0


@dataclass(frozen=True, kw_only=True)
class Batching:
    """How the rows of a batch go together; `reason` says what is in the way of the better kinds.

    `rows` are `independent` where neither a row's mates nor its place change its result, else `coupled`. `padding` is
    `ignored` where nothing past a row's length changes what lies before it, else `read`. What could not be tried is
    `unknown`.
    """

    rows: RowsKind = "independent"
    padding: PaddingKind = "ignored"
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class SizeRange:
    """The sizes at which a free dim gives the model's values: from `min` up to `max`, or without an end."""

    min: int = 1
    max: int | None = None

    def holds(self, size: int) -> bool:
        """Whether a size lies inside."""
        return self.min <= size and (self.max is None or size <= self.max)

    def nearest(self, size: int) -> int:
        """The size itself, or the end that it lies beyond."""
        least = max(self.min, size)
        return least if self.max is None else min(self.max, least)

    def __str__(self) -> str:
        if self.max is None:
            return f"at least {self.min}"
        return f"{self.min} to {self.max}" if self.min > 1 else f"at most {self.max}"


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What an exported model computes.

    A dim is a size, a symbol, or an expression of symbols, such as `"T + 1"` or `"(T - 3)//2 + 1"`; equal symbols are
    equal sizes, and the inputs' dims say all of theirs. `B` is the batch, `T` the time of the sequence, further ones
    are named by the exporter. `ranges` says of a free dim which sizes it may have, where not all: outside of them the
    model goes another way, which was not exported. `table_sizes` says of inputs that look rows up in a table, such as
    tokens, how many it has: their values lie in 0..N-1. `lengths` names the inputs that hold sequence lengths, in 1..T,
    which are T where left out. States that are left out are zeros. `recurrent` are the layers inside; `decoder` is set
    for an autoregressive decoder alone. `golden_sha256` pins the golden file that was written with the model; `truth`
    says what its values are: the reference in float64, or, of an adopted file, what ONNX Runtime gave in float32.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    states: tuple[StatePair, ...]
    lengths: tuple[str, ...]
    recurrent: tuple[Recurrence, ...]
    streaming: Streaming
    precision: str
    source: Source
    batching: Batching = Batching()
    decoder: DecoderPart | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    golden_sha256: str = ""
    ranges: Mapping[str, SizeRange] = field(default_factory=dict)
    table_sizes: Mapping[str, int] = field(default_factory=dict)
    truth: TruthKind = "float64"

    @cached_property
    def bare(self) -> Recurrence | None:
        """The recurrence, where the model is one layer and nothing else."""
        return self.recurrent[0] if len(self.recurrent) == 1 and not self.recurrent[0].name else None

    @cached_property
    def plain_inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs that are neither states nor lengths."""
        others = {pair.input for pair in self.states} | set(self.lengths)
        return tuple(spec for spec in self.inputs if spec.name not in others)

    @cached_property
    def following(self) -> tuple[StatePair, ...]:
        """The states that a run gives: those that go round; of a bare layer its last ones, if it takes any or not."""
        return self.bare.following if self.bare else self.states

    @cached_property
    def plain_outputs(self) -> tuple[TensorSpec, ...]:
        """The outputs that are no states; where there are none, the first state, such as the `hn` of a step."""
        states = {pair.output for pair in self.following}
        return tuple(spec for spec in self.outputs if spec.name not in states) or self.outputs[:1]

    @cached_property
    def state_specs(self) -> tuple[TensorSpec, ...]:
        """The inputs that are states, in the order of `states`."""
        named = {spec.name: spec for spec in self.inputs}
        return tuple(named[pair.input] for pair in self.states)

    @cached_property
    def free_dims(self) -> tuple[str, ...]:
        """The symbols in the inputs' dims, each once, in their order."""
        dims = (dim for spec in self.inputs for dim in spec.dims)
        return tuple(dict.fromkeys(symbol for dim in dims for symbol in symbols_of(dim)))

    @property
    def input_size(self) -> int:
        """The width of a frame of the one plain input, its last dim.

        Raises:
            ContractError: there are several plain inputs, or it has no fixed last dim.
        """
        if len(self.plain_inputs) == 1 and self.plain_inputs[0].dims and isinstance(self.plain_inputs[0].dims[-1], int):
            return self.plain_inputs[0].dims[-1]
        listed = ", ".join(f"{spec.name} {spec.shape}" for spec in self.plain_inputs)
        raise ContractError(
            "input_size", got=listed, expected="one input with a fixed width", remedy="read spec.plain_inputs"
        )

    def layer(self) -> Recurrence:
        """The recurrence of a bare layer.

        Raises:
            ContractError: the model is more than one layer.
        """
        if self.bare is None:
            raise ContractError(
                self.source.file or "the model",
                got="a whole model",
                expected="a single layer or cell",
                remedy="give a file of one layer",
            )
        return self.bare


def layer_contract(
    recurrence: Recurrence,
    *,
    precision: str,
    source: Source,
    versions: Mapping[str, str] | None = None,
    golden_sha256: str = "",
) -> Contract:
    """The contract of a model that is one layer, whose `name` is empty."""
    return Contract(
        inputs=recurrence.inputs,
        outputs=recurrence.outputs,
        states=recurrence.states,
        lengths=("lengths",) if recurrence.lengths else (),
        recurrent=(recurrence,),
        streaming=layer_streaming(recurrence),
        precision=precision,
        source=source,
        versions=dict(versions or {}),
        golden_sha256=golden_sha256,
    )


def layer_streaming(recurrence: Recurrence) -> Streaming:
    """How one layer streams, which its sizes alone say."""
    if recurrence.directions == 2:
        return Streaming(kind="no", reason="a bidirectional encoder, which needs the whole sequence")
    if not recurrence.state_inputs:
        return Streaming(kind="no", reason="a model without state inputs")
    return Streaming(kind="exact")


def _spec(name: str, *dims: Dim) -> TensorSpec:
    return TensorSpec(name=name, dtype="float32", dims=dims)
