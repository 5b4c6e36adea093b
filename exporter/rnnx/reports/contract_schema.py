"""The JSON Schema of a contract, for readers in other languages, made from the contract's own types.

`docs/contract.schema.json` holds what `contract_schema` gives. It says what keys and types there are; what parts must
agree with each other, such as the two ends of a state, is in `rnnx_runtime.contract_json`.
"""

from typing import Any

from rnnx.reports.json_schema import object_schema
from rnnx_runtime.contract import LARGEST_SIZE, Contract, Source, Streaming
from rnnx_runtime.contract_json import DTYPES, LONGEST_DIM, MOST_AXES, SCHEMA, json_from_contract
from rnnx_runtime.files.seal import SEAL_KEY

_SIZE = {"type": "integer", "minimum": 1, "maximum": LARGEST_SIZE}

_DIM = {"anyOf": [_SIZE, {"type": "string", "minLength": 1, "maxLength": LONGEST_DIM}]}

_SIZES = ("input_size", "hidden_size", "projection_size", "layers")

_PLAINEST = Contract(
    inputs=(),
    outputs=(),
    states=(),
    lengths=(),
    recurrent=(),
    streaming=Streaming(kind="no"),
    precision="",
    source=Source(file="", module="", weights_sha256=""),
)
"""A contract with nothing that may be left out."""


def contract_schema() -> dict[str, Any]:
    """The schema as plain JSON data: strict, with a definition for each type of value."""
    definitions: dict[str, Any] = {}
    contract = object_schema(Contract, definitions)
    _narrow(definitions)
    sha256 = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
    of_the_file = {"external_data": _external_data(sha256), SEAL_KEY: sha256}
    properties = {"schema": {"const": SCHEMA}, **contract["properties"], **of_the_file}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Contract of a model of rnnx",
        **contract,
        "properties": properties,
        "required": list(json_from_contract(_PLAINEST)),
        "$defs": dict(sorted(definitions.items())),
    }


def _external_data(sha256: dict[str, Any]) -> dict[str, Any]:
    properties = {"file": {"type": "string"}, "sha256": sha256}
    return {
        "description": "The file of weights beside a model that is too large for one protobuf.",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _narrow(definitions: dict[str, Any]) -> None:
    """Add what the types leave open: dtypes, and the bounds of sizes."""
    tensor, recurrence = definitions["TensorSpec"]["properties"], definitions["Recurrence"]["properties"]
    tensor["dtype"] = {"enum": list(DTYPES)}
    tensor["dims"] = {"type": "array", "items": _DIM, "maxItems": MOST_AXES}
    definitions["Streaming"]["required"] = list(json_from_contract(_PLAINEST)["streaming"])
    recurrence |= dict.fromkeys(_SIZES, _SIZE)
    recurrence["directions"] = {"enum": [1, 2]}
