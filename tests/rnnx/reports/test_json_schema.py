import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from rnnx.reports.json_schema import report_schema

PUBLISHED = Path(__file__).parents[3] / "docs" / "report-schema.json"
WRITE = (
    "python -c 'import json; from rnnx.reports.json_schema import report_schema; "
    "print(json.dumps(report_schema(), indent=2, ensure_ascii=False))' > docs/report-schema.json"
)


def objects_in(schema: Any) -> list[dict[str, Any]]:
    inner = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    own = [schema] if isinstance(schema, dict) and "properties" in schema and schema.get("type") == "object" else []
    return own + [found for value in inner for found in objects_in(value)]


def test_the_published_schema_is_that_of_the_values() -> None:
    assert json.loads(PUBLISHED.read_text(encoding="utf-8")) == report_schema(), f"write it again: {WRITE}"


def test_it_is_a_schema_of_its_draft() -> None:
    Draft202012Validator.check_schema(report_schema())
    assert report_schema()["$schema"].endswith("2020-12/schema")


def test_every_object_is_strict_and_described() -> None:
    found = objects_in(report_schema())
    assert len(found) > 15
    for one in found:
        assert one["additionalProperties"] is False
        assert one["required"] == list(one["properties"])
        assert one["description"]
