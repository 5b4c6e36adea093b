"""`dims-swapped`: an input whose first dim is named as a batch and fed to a recurrence that takes it for the time."""

import re
from collections.abc import Iterator

from onnx import ValueInfoProto

from rnnx.linting.findings import Finding
from rnnx.linting.rules.axes import BATCH, TIME
from rnnx.linting.rules.examined_model import ExaminedModel

_BATCH = re.compile(r"^(b|n|bs|nb|batch.*|.*_batch|.*batch_?size)$", re.IGNORECASE)
_TIME = re.compile(r"^(t|s|l|seq.*|time.*|.*_?len(gth)?|frames?|num_frames|steps?|.*_time)$", re.IGNORECASE)


def find(model: ExaminedModel) -> Iterator[Finding]:
    """Every input of the graph with both names, each at the other's place."""
    for value in model.proto.graph.input:
        axes = model.main.axes.get(value.name)
        names = _names(value)
        if axes is None or len(axes) != len(names):
            continue
        times = [name for name, axis in zip(names, axes, strict=True) if axis == TIME]
        batches = [name for name, axis in zip(names, axes, strict=True) if axis == BATCH]
        if any(map(_BATCH.match, times)) and any(map(_TIME.match, batches)):
            yield Finding(
                rule="dims-swapped",
                severity="warning",
                node=f"input {value.name!r}",
                message=f"its dim {times[0]!r} is what the recurrence takes for the time, and {batches[0]!r} for the "
                "batch: rows run into each other on every backend",
                fix="transpose it in front of the recurrence, or name the dims as the graph reads them",
            )


def _names(value: ValueInfoProto) -> list[str]:
    return [dim.dim_param for dim in value.type.tensor_type.shape.dim]
