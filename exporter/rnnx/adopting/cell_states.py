"""What goes into a written-out cell as its state: told by how it gets there, past no other cell.

c of an LSTM and h of a GRU are scaled by a gate and added, and no weight stands in between; h of an LSTM and of a plain
RNN comes through a product with a weight, as x does.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Literal

from onnx import NodeProto

from rnnx.adopting.handed_values import ARRANGING, data_inputs
from rnnx.linting.rules.scopes import Scope, is_onnx
from rnnx.linting.rules.written_cells import WrittenCell

CellState = Literal["h", "c"]

_SCALING = ("Mul", "Add", "Sub", *ARRANGING)
_MOST = 200
"""Nodes of a cell and of what is in front of it, as far as they are followed."""


def cell_starts(scope: Scope, cells: Sequence[WrittenCell]) -> Iterator[tuple[WrittenCell, CellState, str]]:
    """Every tensor from outside of a scope's nodes that may be a cell's state, by which of its states it would be."""
    made = {name for cell in cells for node in (cell.node, cell.cell_state) if node is not None for name in node.output}
    for cell in cells:
        last = cell.cell_state or cell.node
        direct = set(_sources(scope, last, made, scaled=True))
        others = set(_sources(scope, last, made, scaled=False)) - direct
        if cell.operator == "LSTM":
            yield from ((cell, "c", name) for name in direct)
            yield from ((cell, "h", name) for name in others)
        else:
            yield from ((cell, "h", name) for name in direct if cell.operator == "GRU")
            yield from ((cell, "h", name) for name in others if cell.operator == "RNN")


def is_told(cell: WrittenCell, state: CellState) -> bool:
    """Whether a state's way alone tells it from the cell's input."""
    return state == "c" or cell.operator == "GRU"


def _sources(scope: Scope, node: NodeProto, made: Collection[str], *, scaled: bool) -> Iterator[str]:
    """The tensors that a node is made of and no node makes; `scaled`: on ways without any weight."""
    seen, waiting = {id(node)}, [node]
    while waiting and len(seen) < _MOST:
        current = waiting.pop()
        arranging = is_onnx(current, *ARRANGING)
        for name in filter(None, data_inputs(current) if arranging else current.input):
            origin = scope.producer(name)
            if origin is None:
                if scope.tensor(name) is None:
                    yield name
            elif id(origin) not in seen and name not in made and (not scaled or is_onnx(origin, *_SCALING)):
                seen.add(id(origin))
                waiting.append(origin)
