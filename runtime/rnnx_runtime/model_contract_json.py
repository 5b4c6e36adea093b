"""The contract of a whole model as JSON data, and back with every value checked."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from reprlib import repr as short_repr
from typing import Any, get_args

from rnnx_runtime.contract import LARGEST_SIZE, CellKind, Form, Source, TensorSpec, is_schema, is_size
from rnnx_runtime.errors import ContractError
from rnnx_runtime.model_contract import (
    DecoderForm,
    DecoderPart,
    ModelContract,
    RecurrentPart,
    StatePair,
    TokenFeed,
)

MODEL_SCHEMA = 1

MODEL_FORM = "model"
"""What `form` says of a whole model, where it says `encoder`, `step` or `unrolled` of a layer."""

DTYPES = ("float32", "int64", "bool", "int32", "float64", "float16")
"""What an input or output may hold."""

LONGEST_DIM = 255
"""Characters of a name, and of an expression that says an output's dim."""

MOST_AXES = 8
"""No engine takes tensors of more."""


def json_from_model_contract(contract: ModelContract) -> dict[str, Any]:
    """The contract as plain JSON data, keys in a fixed order; `form` tells it from a layer's."""
    return {"schema": MODEL_SCHEMA, "form": MODEL_FORM, **asdict(contract)}


def is_whole_model(data: object) -> bool:
    """Whether plain JSON data is, or claims to be, the contract of a whole model."""
    return isinstance(data, dict) and data.get("form") == MODEL_FORM


def refuse_whole_model(data: object, subject: str) -> None:
    """Refuse a whole model's contract where a layer's is wanted.

    Raises:
        ContractError: it is one; says how a whole model is opened.
    """
    if is_whole_model(data):
        raise ContractError(
            subject,
            got="a whole model",
            expected="a single layer or cell",
            remedy="open it with rnnx_runtime.load_model",
        )


def model_contract_from_json(data: object, subject: str) -> ModelContract:
    """The contract in plain JSON data; `subject` names the file in errors.

    Raises:
        ContractError: a layer's contract, another schema version, a key missing or unknown, a value of the wrong type
            or range, or parts that contradict each other.
    """
    if isinstance(data, dict) and data.get("form") in get_args(Form):
        raise ContractError(
            subject,
            got=f"a single layer or cell ({data['form']})",
            expected="a whole model",
            remedy="open it with rnnx_runtime.load",
        )
    if not is_whole_model(data) or not isinstance(data, dict) or not is_schema(data.get("schema"), MODEL_SCHEMA):
        got = f"schema {short_repr(data.get('schema'))}" if isinstance(data, dict) else type(data).__name__
        raise ContractError(
            f"contract of {subject}",
            got=got,
            expected=f"schema {MODEL_SCHEMA} of a whole model",
            remedy="export the model again with this version of rnnx, or install the version that wrote it",
        )
    contract = _contract(data, subject)
    for key, holds in _CHECKS.items():  # in an order in which a later one may rely on those before it
        if not holds(contract):
            raise _malformed(subject, f"{key} = {short_repr(getattr(contract, key))}", f"a valid {key}")
    return contract


def _contract(data: dict[str, Any], subject: str) -> ModelContract:
    values = {key: value for key, value in data.items() if key not in ("schema", "form")}
    try:
        decoder = values["decoder"]
        return ModelContract(
            **{
                **values,
                "inputs": _specs(values["inputs"]),
                "outputs": _specs(values["outputs"]),
                "states": tuple(StatePair(**own) for own in _listed(values["states"])),
                "lengths": tuple(_listed(values["lengths"])),
                "recurrent": tuple(RecurrentPart(**own) for own in _listed(values["recurrent"])),
                "source": Source(**values["source"]),
                "decoder": None if decoder is None else _decoder(decoder),
            }
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise _malformed(subject, str(error)[:200], "exactly the keys of a whole model's contract") from None


def _specs(data: Any) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(**{**own, "dims": tuple(_listed(own["dims"]))}) for own in _listed(data))


def _decoder(data: Any) -> DecoderPart:
    return DecoderPart(**{**data, "context": tuple(_listed(data["context"]))})


def _listed(data: Any) -> list[Any]:
    if not isinstance(data, list):
        raise TypeError(f"{short_repr(data)} for a list")
    return data


def _has_inputs(contract: ModelContract) -> bool:
    return bool(contract.inputs) and all(
        _is_spec(spec) and all(is_size(dim) or _is_name(dim) for dim in spec.dims) for spec in contract.inputs
    )


def _has_outputs(contract: ModelContract) -> bool:
    names = [spec.name for spec in (*contract.inputs, *contract.outputs) if _is_spec(spec)]
    return bool(contract.outputs) and len(set(names)) == len(contract.inputs) + len(contract.outputs)


def _has_states(contract: ModelContract) -> bool:
    inputs, outputs = ({spec.name: spec for spec in side} for side in (contract.inputs, contract.outputs))
    ends = [name for pair in contract.states for name in (pair.input, pair.output)]
    if not all(isinstance(name, str) for name in ends) or len(set(ends)) < len(ends):
        return False
    pairs = [(inputs.get(pair.input), outputs.get(pair.output)) for pair in contract.states]
    return all(one and other and (one.dtype, one.dims) == (other.dtype, other.dims) for one, other in pairs)


def _has_lengths(contract: ModelContract) -> bool:
    vectors = [spec.name for spec in contract.inputs if spec.dtype in ("int32", "int64") and len(spec.dims) == 1]
    return all(name in vectors for name in contract.lengths) and len(set(contract.lengths)) == len(contract.lengths)


def _has_recurrent(contract: ModelContract) -> bool:
    sizes = ("input_size", "hidden_size", "projection_size", "layers")
    return all(
        all(isinstance(text, str) for text in (part.name, part.formulation))
        and part.cell in get_args(CellKind)
        and type(part.is_cell) is bool
        and all(is_size(getattr(part, size)) for size in sizes)
        and type(part.directions) is int
        and part.directions in (1, 2)
        for part in contract.recurrent
    )


def _has_decoder(contract: ModelContract) -> bool:
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


def _is_whole_decoder(contract: ModelContract, part: DecoderPart) -> bool:
    """Whether a form has what it cannot do without: `(B,)` tokens, or `(N, B)` of a teacher, and something to give."""
    ranks = {spec.name: len(spec.dims) for spec in contract.inputs}
    teacher = part.feed == "teacher"
    if part.form == "step":
        starts, gives = part.token is not None, part.logits is not None
    else:
        starts = part.steps is not None and (part.token is None) == (part.start_token is not None)
        gives = (part.logits if teacher else part.tokens) is not None
    return starts and gives and (part.token is None or ranks[part.token] == (2 if teacher else 1))


def _has_source(contract: ModelContract) -> bool:
    return all(isinstance(getattr(contract.source, key), str) for key in ("file", "module", "weights_sha256"))


def _has_versions(contract: ModelContract) -> bool:
    return isinstance(contract.versions, Mapping) and all(
        isinstance(text, str) for pair in contract.versions.items() for text in pair
    )


_CHECKS: dict[str, Callable[[ModelContract], bool]] = {
    "inputs": _has_inputs,
    "outputs": _has_outputs,
    "states": _has_states,
    "lengths": _has_lengths,
    "recurrent": _has_recurrent,
    "decoder": _has_decoder,
    "precision": lambda contract: isinstance(contract.precision, str),
    "source": _has_source,
    "versions": _has_versions,
    "golden_sha256": lambda contract: isinstance(contract.golden_sha256, str),
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
