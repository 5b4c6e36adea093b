"""The JSON Schema of a report, made from the types of its values, so that the two cannot part.

JSON Schema draft 2020-12, https://json-schema.org/draft/2020-12/json-schema-core. `docs/report-schema.json` holds what
`report_schema` gives.
"""

import dataclasses
import inspect
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

from rnnx.reports.json_report import FORM, KIND, SCHEMA
from rnnx.reports.plain_data import field_types
from rnnx.reports.verification_report import VerificationReport

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean"}


def report_schema() -> dict[str, Any]:
    """The schema as plain JSON data: strict, with a definition for each type of value."""
    definitions: dict[str, Any] = {}
    report = object_schema(VerificationReport, definitions)
    properties = {"schema": {"const": SCHEMA}, "kind": {"const": KIND}} | report["properties"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Report of rnnx verify",
        **report,
        "properties": properties,
        "required": list(properties),
        "$defs": dict(sorted(definitions.items())),
    }


def object_schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a dataclass; those of the types in it are added to `definitions` by their names."""
    unbounded = kind in FORM.unbounded
    hints = {**FORM.derived.get(kind, {}), **field_types(kind)}
    properties = {name: _schema(hint, definitions, unbounded=unbounded) for name, hint in hints.items()}
    return {
        "description": " ".join((inspect.getdoc(kind) or "").split()),
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _schema(kind: Any, definitions: dict[str, Any], *, unbounded: bool = False) -> dict[str, Any]:
    origin, arguments = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if kind.__name__ not in definitions:
            definitions[kind.__name__] = {}  # a type that holds itself would never end
            definitions[kind.__name__] = object_schema(kind, definitions)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        inner = [_schema(argument, definitions) for argument in arguments if argument is not type(None)]
        schema = inner[0] if len(inner) == 1 else {"anyOf": inner}
        return _or_null(schema) if type(None) in arguments else schema
    if origin is tuple:
        return {"type": "array", "items": _schema(arguments[0], definitions, unbounded=unbounded)}
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _schema(arguments[1], definitions)}
    plain = {"type": _PLAIN[kind]}
    return _or_null(plain) if kind is float and unbounded else plain


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    if "type" in schema and isinstance(schema["type"], str) and len(schema) == 1:
        return {"type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}
