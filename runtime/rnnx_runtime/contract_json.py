"""The contract as JSON data, and back with every value checked."""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from reprlib import repr as short_repr
from typing import Any, get_args

from rnnx_runtime.contract import (
    LARGEST_SIZE,
    Batching,
    CellKind,
    Contract,
    DecoderForm,
    DecoderPart,
    Form,
    Nonlinearity,
    PaddingKind,
    Recurrence,
    RowsKind,
    SizeRange,
    Source,
    StatePair,
    Streaming,
    StreamingKind,
    TensorSpec,
    TokenFeed,
    TruthKind,
)
from rnnx_runtime.dim_expressions import is_linear, symbols_of
from rnnx_runtime.errors import ContractError

SCHEMA = 3

DTYPES = ("float32", "int64", "bool", "int32", "float64", "float16")
"""What an input or output may hold."""

LONGEST_DIM = 255
"""Characters of a name, and of an expression that says a dim."""

MOST_AXES = 8
"""No engine takes tensors of more."""


def json_from_contract(contract: Contract) -> dict[str, Any]:
    """The contract as plain JSON data, keys in a fixed order; without what is as usual, such as no `ranges`."""
    data = {"schema": SCHEMA, **_plain(contract)}
    data["streaming"] = {name: value for name, value in data["streaming"].items() if value or name in _ALWAYS}
    usual: dict[str, Any] = {"ranges": {}, "table_sizes": {}, "truth": Contract.truth}
    return {name: value for name, value in data.items() if name not in usual or value != usual[name]}


_ALWAYS = ("kind", "reason")
"""What every contract says of streaming."""


def _plain(value: Any) -> Any:
    """JSON data knows neither dataclasses nor tuples."""
    if is_dataclass(value):
        return {own.name: _plain(getattr(value, own.name)) for own in fields(value)}
    if isinstance(value, dict):
        return {name: _plain(own) for name, own in value.items()}
    return [_plain(own) for own in value] if isinstance(value, list | tuple) else value


def contract_from_json(data: object, subject: str) -> Contract:
    """The contract in plain JSON data; `subject` names the file in errors.

    Raises:
        ContractError: another schema version, a key missing or unknown, a value of the wrong type or range, or parts
            that contradict each other.
    """
    if not isinstance(data, dict) or not is_schema(data.get("schema"), SCHEMA):
        got = f"schema {short_repr(data.get('schema'))}" if isinstance(data, dict) else type(data).__name__
        raise ContractError(
            f"contract of {subject}",
            got=got,
            expected=f"schema {SCHEMA}",
            remedy="export the model again with this version of rnnx, or install the version that wrote it",
        )
    contract = _parsed({key: value for key, value in data.items() if key != "schema"}, subject)
    for part, holds in _CHECKS.items():
        try:
            valid = holds(contract)
        except (TypeError, AttributeError, KeyError):  # a value of a type that no check expects
            valid = False
        if not valid:
            raise _malformed(subject, f"{part} = {short_repr(data.get(part))}", f"a valid {part}")
    _refuse_other_signature(contract, subject)
    return contract


def is_schema(found: object, known: int) -> bool:
    """Whether a schema's version is the known one and no other value that Python calls equal, such as 1.0 or true."""
    return type(found) is int and found == known


def is_size(value: object) -> bool:
    """Whether a value can be a dim: a whole number from 1 to `LARGEST_SIZE`."""
    return type(value) is int and 1 <= value <= LARGEST_SIZE


def _parsed(values: dict[str, Any], subject: str) -> Contract:
    try:
        decoder = values["decoder"]
        return Contract(
            **{
                **values,
                "inputs": _specs(values["inputs"]),
                "outputs": _specs(values["outputs"]),
                "states": tuple(StatePair(**own) for own in _listed(values["states"])),
                "lengths": tuple(_listed(values["lengths"])),
                "recurrent": tuple(Recurrence(**own) for own in _listed(values["recurrent"])),
                "streaming": _streaming(values["streaming"]),
                "batching": _batching(values["batching"]),
                "source": Source(**values["source"]),
                "decoder": None if decoder is None else _decoder(decoder),
                "ranges": {dim: SizeRange(**own) for dim, own in values.get("ranges", {}).items()},
            }
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise _malformed(subject, str(error)[:200], "exactly the keys of a contract") from None


def _refuse_other_signature(contract: Contract, subject: str) -> None:
    """Refuse a bare layer's contract that contradicts its own recurrence; raises ContractError."""
    bare = [own for own in contract.recurrent if not own.name]
    if not bare:
        return
    own = bare[0]
    told = (own.inputs, own.outputs, own.states, ("lengths",) if own.lengths else ())
    if len(contract.recurrent) > 1 or contract.decoder is not None:
        raise _malformed(subject, "a layer without a name beside other parts", "a name for each layer of a whole model")
    if told != (contract.inputs, contract.outputs, contract.states, contract.lengths):
        got, expected = (
            ", ".join(f"{spec.name} {spec.shape}" for spec in specs)
            for specs in ((*contract.inputs, *contract.outputs), (*own.inputs, *own.outputs))
        )
        raise _malformed(subject, f"{got} for one {own.cell.upper()}", f"{expected}, as its own recurrence says")


def _specs(data: Any) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(**{**own, "dims": tuple(_listed(own["dims"]))}) for own in _listed(data))


def _batching(data: Any) -> Batching:
    if data.keys() != {field.name for field in fields(Batching)}:
        raise KeyError("batching")
    return Batching(**data)


def _streaming(data: Any) -> Streaming:
    return Streaming(**{**data, "caches": tuple(_listed(data.get("caches", [])))})


def _decoder(data: Any) -> DecoderPart:
    return DecoderPart(**{**data, "context": tuple(_listed(data["context"]))})


def _listed(data: Any) -> list[Any]:
    if not isinstance(data, list):
        raise TypeError(f"{short_repr(data)} for a list")
    return data


def _has_inputs(contract: Contract) -> bool:
    if not contract.inputs or not all(_is_spec(spec) for spec in contract.inputs):
        return False
    dims = [dim for spec in contract.inputs for dim in spec.dims if not is_size(dim) and not _is_name(dim)]
    return all(symbols_of(dim) for dim in dims) and not unsolved_symbols(contract)


def unsolved_symbols(contract: Contract) -> set[str]:
    """The symbols of the inputs' dims whose size no input says: they stand alone nowhere, nor alone in a linear dim."""
    dims = [str(dim) for spec in contract.inputs for dim in spec.dims]
    known = {dim for dim in dims if dim.isidentifier()}
    found = True
    while found:
        found = False
        for unknown in [{*symbols_of(dim)} - known for dim in dims if is_linear(dim)]:
            if len(unknown) == 1:
                known |= unknown
                found = True
    return {symbol for dim in dims for symbol in symbols_of(dim)} - known


def _has_outputs(contract: Contract) -> bool:
    names = [spec.name for spec in (*contract.inputs, *contract.outputs) if _is_spec(spec)]
    return bool(contract.outputs) and len(set(names)) == len(contract.inputs) + len(contract.outputs)


def _has_states(contract: Contract) -> bool:
    inputs, outputs = ({spec.name: spec for spec in side} for side in (contract.inputs, contract.outputs))
    ends = [name for pair in contract.states for name in (pair.input, pair.output)]
    if not all(isinstance(name, str) for name in ends) or len(set(ends)) < len(ends):
        return False
    pairs = [(inputs.get(pair.input), outputs.get(pair.output)) for pair in contract.states]
    return all(one and other and (one.dtype, one.dims) == (other.dtype, other.dims) for one, other in pairs)


def _has_lengths(contract: Contract) -> bool:
    vectors = [spec.name for spec in contract.inputs if spec.dtype in ("int32", "int64") and len(spec.dims) == 1]
    return all(name in vectors for name in contract.lengths) and len(set(contract.lengths)) == len(contract.lengths)


def _has_recurrent(contract: Contract) -> bool:
    return all(_is_recurrence(own) for own in contract.recurrent)


def _is_recurrence(own: Recurrence) -> bool:
    sizes = ("input_size", "hidden_size", "projection_size", "layers")
    return (
        all(isinstance(text, str) for text in (own.name, own.formulation))
        and own.form in get_args(Form)
        and own.cell in get_args(CellKind)
        and all(is_size(getattr(own, size)) for size in sizes)
        and type(own.directions) is int
        and own.directions in (1, 2)
        and (is_size(own.steps) if own.form == "unrolled" else own.steps is None)
        and (own.nonlinearity in get_args(Nonlinearity) if own.cell == "rnn" else own.nonlinearity is None)
        and all(type(value) is bool for value in (own.batch_first, own.state_inputs, own.lengths))
        and (own.form == "encoder" or ((own.layers, own.directions) == (1, 1) and not own.lengths))  # a cell
        and (own.cell == "lstm" or own.projection_size == own.hidden_size)
    )


def _has_streaming(contract: Contract) -> bool:
    own, states = contract.streaming, {pair.input for pair in contract.states}
    outputs = {spec.name for spec in contract.outputs}
    return (
        own.kind in get_args(StreamingKind)
        and isinstance(own.reason, str)
        and {*own.caches} <= states
        and all(name == "" or name in own.caches for name in (own.position, own.end))
        and type(own.lookahead) is int
        and type(own.shortest) is int
        and min(own.lookahead, own.shortest) >= 0
        and max(own.lookahead, own.shortest) <= LARGEST_SIZE
        and all(name in outputs and is_size(delay) for name, delay in own.delays.items())
        and all(name in outputs and symbols_of(text) in ((), ("N",)) for name, text in own.lengths.items())
    )


def _has_batching(contract: Contract) -> bool:
    own = contract.batching
    kinds = own.rows in get_args(RowsKind) and own.padding in get_args(PaddingKind)
    return kinds and isinstance(own.reason, str)


def _has_decoder(contract: Contract) -> bool:
    part = contract.decoder
    if part is None:
        return True
    inputs, outputs = ([spec.name for spec in side] for side in (contract.inputs, contract.outputs))
    tokens = (part.start_token, part.end_token, part.pad_token)
    return (
        part.form in get_args(DecoderForm)
        and (part.feed is None or part.feed in get_args(TokenFeed))
        and (part.steps is None or is_size(part.steps))
        and (part.token is None or part.token in inputs)
        and all(name is None or name in outputs for name in (part.logits, part.tokens))
        and all(name in inputs for name in part.context)
        and all(token is None or (type(token) is int and 0 <= token <= LARGEST_SIZE) for token in tokens)
        and _is_whole_decoder(contract, part)
    )


def _is_whole_decoder(contract: Contract, part: DecoderPart) -> bool:
    """Whether a form has what it cannot do without: `(B,)` tokens, or `(N, B)` of a teacher, and something to give."""
    ranks = {spec.name: len(spec.dims) for spec in contract.inputs}
    teacher = part.feed == "teacher"
    if part.form == "step":
        starts, gives = part.token is not None, part.logits is not None
    else:
        starts = part.steps is not None and (part.token is None) == (part.start_token is not None)
        gives = (part.logits if teacher else part.tokens) is not None
    return starts and gives and (part.token is None or ranks[part.token] == (2 if teacher else 1))


def _has_source(contract: Contract) -> bool:
    return all(isinstance(getattr(contract.source, key), str) for key in ("file", "module", "weights_sha256"))


def _has_versions(contract: Contract) -> bool:
    return isinstance(contract.versions, Mapping) and all(
        isinstance(text, str) for pair in contract.versions.items() for text in pair
    )


def _has_ranges(contract: Contract) -> bool:
    return all(
        dim in contract.free_dims
        and is_size(own.min)
        and (own.max is None or (is_size(own.max) and own.min <= own.max))
        for dim, own in contract.ranges.items()
    )


def _has_table_sizes(contract: Contract) -> bool:
    dtypes = {spec.name: spec.dtype for spec in contract.inputs}
    return all(dtypes.get(name) in ("int32", "int64") and is_size(rows) for name, rows in contract.table_sizes.items())


_CHECKS: dict[str, Callable[[Contract], bool]] = {
    "inputs": _has_inputs,
    "outputs": _has_outputs,
    "states": _has_states,
    "lengths": _has_lengths,
    "recurrent": _has_recurrent,
    "streaming": _has_streaming,
    "batching": _has_batching,
    "decoder": _has_decoder,
    "precision": lambda contract: isinstance(contract.precision, str),
    "source": _has_source,
    "versions": _has_versions,
    "golden_sha256": lambda contract: isinstance(contract.golden_sha256, str),
    "ranges": _has_ranges,
    "table_sizes": _has_table_sizes,
    "truth": lambda contract: contract.truth in get_args(TruthKind),
}
"""Each part of a contract and whether it holds."""


def _is_spec(spec: TensorSpec) -> bool:
    """Whether a name, a dtype and dims are what they must be; a dim may be any text."""
    return (
        _is_name(spec.name)
        and spec.dtype in DTYPES
        and len(spec.dims) <= MOST_AXES
        and all(is_size(dim) or (isinstance(dim, str) and 0 < len(dim) <= LONGEST_DIM) for dim in spec.dims)
    )


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value.isidentifier() and len(value) <= LONGEST_DIM


def _malformed(subject: str, got: str, expected: str) -> ContractError:
    return ContractError(
        f"contract of {subject}", got=got, expected=expected, remedy="export the model again with rnnx export"
    )
