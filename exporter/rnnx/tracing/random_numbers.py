"""Random numbers that `forward` draws, with which no two runs are alike and nothing can be compared."""

from collections.abc import Iterator

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from rnnx.errors import ExportError
from rnnx.modules.source_lines import line_of_node

_SWITCHES = ("train", "training")
_CHANCES = ("p", "dropout_p")


def refuse_random_numbers(program: ExportedProgram, subject: str) -> None:
    """Refuse a program that draws random numbers; dropout that is switched off draws none.

    Raises:
        ExportError: it draws some; names the model's line.
    """
    for node in _drawing(program):
        raise ExportError(
            f"{subject}, {line_of_node(node.meta)}",
            got=f"random numbers drawn in forward ({node.target})",
            expected="the same results for the same inputs",
            remedy="take them as an input, or switch them off outside of training: F.dropout(x, p, self.training)",
        )


def _drawing(program: ExportedProgram) -> Iterator[Node]:
    for node in program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if schema is None or torch.Tag.nondeterministic_seeded not in node.target.tags:
            continue
        given = dict(zip((own.name for own in schema.arguments), node.args, strict=False)) | node.kwargs
        values = {own.name: given.get(own.name, own.default_value) for own in schema.arguments}
        is_off = any(values.get(name) is False for name in _SWITCHES) or any(values.get(own) == 0 for own in _CHANCES)
        if not is_off:
            yield node
