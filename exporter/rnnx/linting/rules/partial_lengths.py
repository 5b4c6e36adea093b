"""`lengths-partial`: layers of which some know the rows' lengths, and others above them run over the padding."""

from collections.abc import Iterator

from rnnx.linting.findings import Finding
from rnnx.linting.rules.axes import TIME
from rnnx.linting.rules.examined_model import ExaminedModel, ExaminedScope
from rnnx.linting.rules.recurrences import Recurrence


def find(model: ExaminedModel) -> Iterator[Finding]:
    """Every layer without lengths, over the same steps as one with them, where padding reaches what is wanted."""
    if model.origin.is_traced:
        return  # the model itself does so
    for part in model.parts:
        told = {layer.outputs[0]: layer for layer in part.layers if layer.sequence_lens and layer.outputs[0]}
        for layer in part.layers:
            below = [own for name, own in told.items() if name in _steps_below(part, layer.x)]
            if below and not layer.sequence_lens and _lets_padding_in(part, layer):
                yield Finding(
                    rule="lengths-partial",
                    severity="warning",
                    node=layer.shown,
                    message=f"{below[0].shown} below it is given lengths and this layer is not: its backward direction "
                    "and its final state run over the padding of shorter rows",
                    fix="hand the same lengths to its sequence_lens",
                )


def _steps_below(part: ExaminedScope, name: str) -> set[str]:
    """The tensors that a layer's input is made of, as long as they have the time axis."""
    recurrent = {id(layer.node) for layer in part.layers}
    seen, waiting = {name}, [name]
    while waiting:
        node = part.scope.producer(waiting.pop())
        if node is not None and id(node) not in recurrent:
            new = [own for own in node.input if own not in seen and TIME in part.axes.get(own, ())]
            seen.update(new)
            waiting += new
    return seen


def _lets_padding_in(part: ExaminedScope, layer: Recurrence) -> bool:
    outputs = {value.name for value in part.scope.graph.output} if part.scope.graph is not None else set()
    finals = [name for name in layer.outputs[1:] if name and (name in part.scope.readers or name in outputs)]
    return bool(finals) or layer.attributes.get("direction") in (b"bidirectional", b"reverse")
