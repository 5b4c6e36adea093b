"""Whether nodes have the inputs and attributes that ONNX demands, so that rules need not ask."""

from collections.abc import Iterator

from onnx import ModelProto, NodeProto, defs

from rnnx.rules.scopes import scopes_of, shown


def malformed_nodes(model: ModelProto) -> Iterator[str]:
    """Every node of a known operator that lacks an input or an attribute, and what it lacks."""
    versions = {opset.domain: opset.version for opset in model.opset_import}
    for scope in scopes_of(model):
        for node in scope.nodes:
            yield from (f"{shown(node)} without {lack}" for lack in _lacks(node, versions))


def _lacks(node: NodeProto, versions: dict[str, int]) -> Iterator[str]:
    domain = "" if node.domain == "ai.onnx" else node.domain
    if not defs.has(node.op_type, domain):
        return
    try:
        schema = defs.get_schema(node.op_type, versions.get(domain, 1), domain)
    except defs.SchemaError:
        return  # an operator that this opset does not have is the loader's business
    if len(node.input) < schema.min_input:
        yield f"input {schema.inputs[len(node.input)].name}"
    if len(node.output) < schema.min_output:
        yield f"output {schema.outputs[len(node.output)].name}"
    named = {attribute.name for attribute in node.attribute}
    yield from (f"attribute {own.name}" for own in schema.attributes.values() if own.required and own.name not in named)
