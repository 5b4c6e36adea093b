"""`older-contract`: a model of rnnx whose contract this version's runtime does not read."""

from collections.abc import Iterator

from rnnx.linting.findings import Finding
from rnnx.linting.rules.examined_model import ExaminedModel
from rnnx.linting.rules.origins import contract_values
from rnnx_runtime.contract_json import SCHEMA, is_schema


def find(model: ExaminedModel) -> Iterator[Finding]:
    """A contract of another schema."""
    values = contract_values(model.proto)
    schema = values.get("schema")
    if type(schema) is int and not is_schema(schema, SCHEMA):
        yield Finding(
            rule="older-contract",
            severity="warning",
            node="the contract in the metadata",
            message=f"it is of schema {schema}, and rnnx_runtime of this version reads schema {SCHEMA} alone",
            fix="export the model again, or install the version of rnnx that wrote it",
        )
