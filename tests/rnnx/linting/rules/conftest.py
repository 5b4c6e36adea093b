"""What the tests of rules share: a graph in ONNX's own text form, examined.

https://onnx.ai/onnx/repo-docs/Syntax.html; a node's name stands in brackets before it.
"""

from collections.abc import Callable

import pytest
from onnx import ModelProto, parser

from rnnx.linting.examination import each_finding
from rnnx.linting.findings import Finding
from rnnx.linting.rules.examined_model import examined

Told = Callable[..., list[Finding]]


@pytest.fixture
def told() -> Told:
    """`told(text, *rules)`: the findings of these rules in a graph, all of them where none is named."""

    def told_of(text: str, *rules: str, producer: str = "", opset: int = 17, functions: str = "") -> list[Finding]:
        model = model_of(text, producer, opset, functions)
        return [finding for finding in each_finding(examined(model)) if not rules or finding.rule in rules]

    return told_of


def model_of(text: str, producer: str = "", opset: int = 17, functions: str = "") -> ModelProto:
    """A model around a graph's text; `producer` is a name and a version."""
    name, _, version = producer.partition(" ")
    domains = ", ".join(
        f'"{domain}" : {number}' for domain, number in (("", opset), ("local", 1), ("com.microsoft", 1))
    )
    head = f'<ir_version: 9, opset_import: [{domains}], producer_name: "{name}", producer_version: "{version}">'
    return parser.parse_model(f"{head}\n{text}\n{functions}")
