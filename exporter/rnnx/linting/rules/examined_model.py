"""What every rule is given: the model, its scopes, its recurrences and where it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from onnx import ModelProto

from rnnx.linting.rules.axes import Axes
from rnnx.linting.rules.axis_tracing import traced_axes
from rnnx.linting.rules.inlining import inlined
from rnnx.linting.rules.origins import Origin, origin_of
from rnnx.linting.rules.recurrences import Recurrence, recurrences_of
from rnnx.linting.rules.scopes import Scope, scopes_of


@dataclass(frozen=True, kw_only=True, eq=False)
class ExaminedScope:
    """A scope with its own recurrent nodes, and what the dims of the tensors around them stand for."""

    scope: Scope
    layers: tuple[Recurrence, ...]
    axes: Mapping[str, Axes]


@dataclass(frozen=True, kw_only=True, eq=False)
class ExaminedModel:
    """A model taken apart once for all rules; `folder` holds its external data, where that is known."""

    proto: ModelProto
    folder: Path | None
    origin: Origin
    parts: tuple[ExaminedScope, ...]

    @property
    def main(self) -> ExaminedScope:
        """The model's own graph; the other parts are subgraphs."""
        return self.parts[0]

    @property
    def layers(self) -> tuple[Recurrence, ...]:
        """Every recurrent node."""
        return tuple(layer for part in self.parts for layer in part.layers)


def examined(model: ModelProto, folder: Path | None = None) -> ExaminedModel:
    """Take a model apart, its local functions written out where they are called.

    Raises:
        EndlessError: they call themselves or each other, or write out to more nodes than a graph can have.
    """
    origin = origin_of(model)
    proto = inlined(model)
    parts = tuple(_examined_scope(scope) for scope in scopes_of(proto))
    return ExaminedModel(proto=proto, folder=folder, origin=origin, parts=parts)


def _examined_scope(scope: Scope) -> ExaminedScope:
    layers = tuple(recurrences_of(scope))
    return ExaminedScope(scope=scope, layers=layers, axes=traced_axes(scope, layers))
