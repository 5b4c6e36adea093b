"""The contract of an exported model: what it computes, under which names, in which shapes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from reprlib import repr as short_repr
from typing import Any, Literal, get_args

from rnnx_runtime.errors import ContractError

Form = Literal["encoder", "step", "unrolled"]
CellKind = Literal["lstm", "gru", "rnn"]
Nonlinearity = Literal["tanh", "relu"]
Dim = str | int

SCHEMA = 2

LARGEST_SIZE = 2**31 - 1
"""No dim is larger: kernels count in 32 bits."""


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """One input or output: its name, NumPy dtype and dims, where a dim is a size or a symbol (`"T"`, `"B"`)."""

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
class Contract:
    """What an exported model computes.

    `projection_size` is the width of `h` (equal to `hidden_size` without projection); `nonlinearity` is set for a plain
    RNN and `steps` for the unrolled form, each for that alone. T is time, B is batch; `batch_first` swaps them in `x`
    and `output` only. `golden_sha256` pins the golden file that was exported with the model.
    """

    form: Form
    cell: CellKind
    input_size: int
    hidden_size: int
    projection_size: int
    layers: int
    directions: int
    steps: int | None
    batch_first: bool
    state_inputs: bool
    lengths: bool
    precision: str
    formulation: str
    source: Source
    versions: Mapping[str, str] = field(default_factory=dict)
    golden_sha256: str = ""
    nonlinearity: Nonlinearity | None = None

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The graph's inputs in order: `x`, then `h0`, `c0` and `lengths` where the model has them."""
        specs = [_spec("x", *self._sequence(self.input_size))]
        if self.state_inputs:
            specs += self._state("0")
        if self.lengths:
            specs.append(TensorSpec(name="lengths", dtype="int32", dims=("B",)))
        return tuple(specs)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The graph's outputs in order: `output` (not for a step), `hn`, and `cn` for LSTM."""
        specs = self._state("n")
        if self.form != "step":
            specs.insert(0, _spec("output", *self._sequence(self.directions * self.projection_size)))
        return tuple(specs)

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


def _spec(name: str, *dims: Dim) -> TensorSpec:
    return TensorSpec(name=name, dtype="float32", dims=dims)


def json_from_contract(contract: Contract) -> dict[str, Any]:
    """The contract as plain JSON data, keys in a fixed order."""
    return {"schema": SCHEMA, **asdict(contract)}


def contract_from_json(data: object, subject: str) -> Contract:
    """The contract in plain JSON data; `subject` names the file in errors.

    Raises:
        ContractError: another schema version, a key missing or unknown, or a value of the wrong type or range.
    """
    if not isinstance(data, dict) or not is_schema(data.get("schema"), SCHEMA):
        got = f"schema {short_repr(data.get('schema'))}" if isinstance(data, dict) else type(data).__name__
        raise ContractError(
            f"contract of {subject}",
            got=got,
            expected=f"schema {SCHEMA}",
            remedy="export the model again with this version of rnnx, or install the version that wrote it",
        )
    values = {key: value for key, value in data.items() if key != "schema"}
    try:
        contract = Contract(**{**values, "source": Source(**values["source"])})
    except (TypeError, KeyError) as error:
        raise _malformed(subject, str(error)[:200], "exactly the keys of a contract") from None
    _check_values(contract, subject)
    return contract


def is_schema(found: object, known: int) -> bool:
    """Whether a schema's version is the known one and no other value that Python calls equal, such as 1.0 or true."""
    return type(found) is int and found == known


def is_size(value: object) -> bool:
    """Whether a value can be a dim: a whole number from 1 to `LARGEST_SIZE`."""
    return type(value) is int and 1 <= value <= LARGEST_SIZE


def _check_values(contract: Contract, subject: str) -> None:
    unrolled = contract.form == "unrolled"
    rules = {
        "form": contract.form in get_args(Form),
        "cell": contract.cell in get_args(CellKind),
        **{key: is_size(getattr(contract, key)) for key in ("input_size", "hidden_size", "projection_size", "layers")},
        "directions": contract.directions in (1, 2) and type(contract.directions) is int,
        "nonlinearity": _is_nonlinearity(contract.nonlinearity, contract.cell),
        "steps": is_size(contract.steps) if unrolled else contract.steps is None,
        **{key: type(getattr(contract, key)) is bool for key in ("batch_first", "state_inputs", "lengths")},
        **{key: isinstance(getattr(contract, key), str) for key in ("precision", "formulation", "golden_sha256")},
        "source": all(isinstance(getattr(contract.source, key), str) for key in ("file", "module", "weights_sha256")),
        "versions": isinstance(contract.versions, Mapping)
        and all(isinstance(text, str) for pair in contract.versions.items() for text in pair),
    }
    for key, holds in rules.items():
        if not holds:
            raise _malformed(subject, f"{key} = {short_repr(getattr(contract, key))}", f"a valid {key}")


def _is_nonlinearity(value: object, cell: str) -> bool:
    return value in get_args(Nonlinearity) if cell == "rnn" else value is None


def _malformed(subject: str, got: str, expected: str) -> ContractError:
    return ContractError(
        f"contract of {subject}", got=got, expected=expected, remedy="export the model again with rnnx export"
    )
