"""`unused-weights`: weights that nothing reads, often what was left of a layer that the export lost."""

from collections.abc import Iterator

from rnnx.linting.findings import Finding
from rnnx.linting.rules.examined_model import ExaminedModel


def find(model: ExaminedModel) -> Iterator[Finding]:
    """The initializers of the main graph that no node and no output reads."""
    read = {value.name for value in model.proto.graph.output}.union(*(part.scope.readers for part in model.parts))
    unused = [tensor.name for tensor in model.proto.graph.initializer if tensor.name not in read]
    for name in unused:
        yield Finding(
            rule="unused-weights",
            severity="info",
            node=f"weight {name!r}",
            message="nothing reads it: it only takes space, unless the node that should read it was lost",
            fix="compare the graph's layers with the checkpoint's (rnnx inspect), or remove it",
        )
