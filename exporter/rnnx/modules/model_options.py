"""The options of exporting a whole model."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """What to export of a model and how.

    `stateful` lifts the states of recurrent layers that start from zeros to inputs and outputs. `static` fixes every
    dim at the example's size. `input_names` and `output_names` replace the names that `forward` and its results give.
    `dims` names the axes of an input by hand, such as `{"x": ("B", "T", None)}`, where None is a fixed size; inputs
    left out have theirs inferred from the model. `lengths` names inputs that hold sequence lengths where the exporter
    cannot see it. `constants` fixes inputs that a deployment never changes, such as `{"start": True}`, and takes them
    out of the graph. `deterministic` lets dropout that is always on pass its input through and noise be its mean.
    """

    stateful: bool = False
    static: bool = False
    input_names: tuple[str, ...] | None = None
    output_names: tuple[str, ...] | None = None
    dims: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)
    lengths: tuple[str, ...] = ()
    constants: Mapping[str, str | bool | int | float] = field(default_factory=dict)
    deterministic: bool = False
    opset: int | None = None
