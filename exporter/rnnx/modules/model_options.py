"""The options of exporting a whole model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """What to export of a model and how.

    `stateful` lifts to inputs and outputs the states of recurrent layers that come from no input's values, and those
    that the model keeps in attributes and buffers; and carries what operators that look along time need of earlier
    chunks, so that a sequence in chunks gives what the whole gives. "recurrent" carries nothing but states. `states`
    names inputs and the outputs that the next call takes for
    them, such as `{"h": "h_next"}`, where the exporter cannot see it. `static` fixes every dim at the example's size.
    `input_names` and `output_names` replace the names that `forward` and its results give. `dims` names the axes of an
    input by hand, such as `{"x": ("B", "T", None)}`, where None is a fixed size; inputs left out have theirs inferred
    from the model. `lengths` names inputs that hold sequence lengths where the exporter cannot see it. `constants`
    fixes inputs that a deployment never changes, such as `{"start": True}`, and takes them out of the graph.
    `deterministic` lets dropout that is always on pass its input through and noise be its mean.
    """

    stateful: bool | Literal["recurrent"] = False
    states: Mapping[str, str] = field(default_factory=dict)
    static: bool = False
    input_names: tuple[str, ...] | None = None
    output_names: tuple[str, ...] | None = None
    dims: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)
    lengths: tuple[str, ...] = ()
    constants: Mapping[str, str | bool | int | float] = field(default_factory=dict)
    deterministic: bool = False
    opset: int | None = None
