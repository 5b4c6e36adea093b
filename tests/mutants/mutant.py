"""A broken model: a real export of a source, an edit of its graph, and what a diagnosis has to find."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx
from torch import nn

from rnnx.diagnosis.diagnosis import Direction
from rnnx.truths.cases import Case
from rnnx_runtime import Contract

Edit = Callable[[onnx.ModelProto], None]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A module with seeded weights, and the options it is exported with.

    `cases` are added to the matrix, for its mutants and for its twin.
    """

    name: str
    build: Callable[[], nn.Module]
    options: Mapping[str, Any] = field(default_factory=dict)
    cases: Callable[[Contract], list[Case]] = lambda contract: []


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """An edit of a source's export. `cause`, and of a weight fault the place, are what a diagnosis must say.

    `foreign`: without a contract inside, as another exporter's file; one of rnnx whose declared shapes are no longer
    the contract's is refused before it runs.
    """

    name: str
    source: Source
    edit: Edit
    cause: str
    layer: int | None = None
    direction: Direction | None = None
    gate: str | None = None
    foreign: bool = False
    says: str = ""
    """A part of the summary or of the node, where the cause alone would not tell enough."""
