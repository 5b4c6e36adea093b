"""`dims-swapped`: an input whose first dim is named as a batch and fed to a recurrence that takes it for the time."""

import re
from collections.abc import Iterator

from onnx import ValueInfoProto

from rnnx.linting.findings import Finding
from rnnx.linting.rules.axes import BATCH, OTHER, TIME, Axes
from rnnx.linting.rules.examined_model import ExaminedModel
from rnnx.linting.rules.scopes import attributes_of, is_onnx, scanned_count

_BATCH = re.compile(r"^(b|n|bs|nb|batch.*|.*_batch|.*batch_?size)$", re.IGNORECASE)
_TIME = re.compile(r"^(t|s|l|seq.*|time.*|.*_?len(gth)?|frames?|num_frames|steps?|.*_time)$", re.IGNORECASE)


def find(model: ExaminedModel) -> Iterator[Finding]:
    """Every input of the graph with both names, each at the other's place."""
    scanned = dict(_scanned(model))
    for value in model.proto.graph.input:
        axes = model.main.axes.get(value.name) or scanned.get(value.name)
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


def _scanned(model: ExaminedModel) -> Iterator[tuple[str, Axes]]:
    """The inputs that a Scan with a state goes through, with what it takes for their first two axes."""
    for node in model.main.scope.nodes:
        if is_onnx(node, "Scan"):
            own = attributes_of(node)
            count = scanned_count(node)
            places = own.get("scan_input_axes") or [0] * count
            for name, place in zip(node.input[len(node.input) - count :], places, strict=False):
                rank = len(model.main.scope.dims(name) or ())
                if rank > 2 and place in (0, 1) and len(node.input) > count:
                    yield name, tuple(TIME if axis == place else BATCH if axis < 2 else OTHER for axis in range(rank))


def _names(value: ValueInfoProto) -> list[str]:
    return [dim.dim_param for dim in value.type.tensor_type.shape.dim]
