"""All broken graphs, each with the rules of which one names what is broken."""

from collections.abc import Callable

from tests.examined_files import broken_flow, broken_layers, broken_wiring
from tests.examined_files.graph_text import GraphText

BROKEN: dict[Callable[[], GraphText], tuple[str, ...]] = {
    **broken_layers.BROKEN,
    **broken_wiring.BROKEN,
    **broken_flow.BROKEN,
}

UNNAMED = ("gates_of_pytorch", "gates_exchanged")
"""What no rule can tell from the graph: another order of the gates is another layer, as right as this one."""
