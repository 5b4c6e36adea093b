"""`baked-time` of a recurrence that was traced: the loop over the example is written out, step by step."""

from collections.abc import Iterator

from onnx import NodeProto

from rnnx.linting.findings import Finding
from rnnx.linting.rules.examined_model import ExaminedModel
from rnnx.linting.rules.scopes import Scope, attributes_of, input_of, is_onnx, shown, shown_with_others
from rnnx.linting.rules.written_cells import written_cells


def find(model: ExaminedModel) -> Iterator[Finding]:
    """Every tensor with a free dim that written-out cells read step by step."""
    for part in model.parts:
        if len(written_cells(part.scope)) > 1:
            for name in part.scope.readers:
                readers = _step_readers(part.scope, name)
                if len(readers) > 1:
                    yield _finding(name, readers)


def _step_readers(scope: Scope, name: str) -> list[NodeProto]:
    """The nodes that pick step 0, 1, 2 and so on along a free axis; empty where steps are left out."""
    by_axis: dict[int, dict[int, NodeProto]] = {}
    for node in scope.readers[name]:
        if is_onnx(node, "Gather") and node.input[0] == name:
            steps, axis = scope.ints(input_of(node, 1)), attributes_of(node).get("axis", 0)
            if steps is not None and len(steps) == 1 and _is_free(scope, name, axis):
                by_axis.setdefault(axis, {})[steps[0]] = node
    complete = [picks for picks in by_axis.values() if set(picks) == set(range(len(picks)))]
    return [picks[step] for picks in complete[:1] for step in range(len(picks))]


def _is_free(scope: Scope, name: str, axis: int) -> bool:
    dims = scope.dims(name)
    return dims is not None and -len(dims) <= axis < len(dims) and dims[axis] is None


def _finding(name: str, readers: list[NodeProto]) -> Finding:
    return Finding(
        rule="baked-time",
        severity="error",
        node=shown_with_others([shown(node) for node in readers]),
        message=f"the recurrence over {name!r} is written out for the time length {len(readers)} of the export's "
        "example: a longer sequence is cut without a word, a shorter one fails on every backend",
        fix="export the cell itself with rnnx export, as a step or with a fixed number of steps",
    )
