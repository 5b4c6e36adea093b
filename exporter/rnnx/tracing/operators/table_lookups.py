"""Inputs that look rows up in a table, such as tokens: ONNX's Gather takes a value below 0 from the table's end."""

from collections.abc import Sequence
from typing import Any

from torch.export import ExportedProgram

from rnnx.tracing.states.blended_states import operator_name
from rnnx.tracing.states.data_paths import sources_of


def table_sizes(program: ExportedProgram, names: Sequence[str]) -> dict[str, int]:
    """The rows of the smallest table that each input is looked up in; inputs that are computed with first have none."""
    by_node = dict(zip(program.graph_signature.user_inputs, names, strict=True))
    found: dict[str, int] = {}
    for node in program.graph.nodes:
        if node.op != "call_function" or operator_name(node) != "embedding":
            continue
        table: Any = node.args[0]
        rows = table.meta["val"].shape[0]
        for origin in sources_of(node.args[1]):
            name = by_node.get(origin.name) if origin.op == "placeholder" else None
            if name is not None and isinstance(rows, int):
                found[name] = min(rows, found.get(name, rows))
    return found
