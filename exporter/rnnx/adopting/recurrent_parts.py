"""The recurrent layers of a foreign graph with their sizes, and what else repeats: loops, scans, written-out cells."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import get_args

from rnnx.linting.rules.recurrences import Recurrence as RecurrentNode
from rnnx.linting.rules.recurrences import recurrences_of
from rnnx.linting.rules.scopes import Scope, is_onnx
from rnnx.linting.rules.state_paths import takes_states
from rnnx.linting.rules.written_cells import written_cells
from rnnx_runtime.contract import CellKind, Nonlinearity, Recurrence
from rnnx_runtime.contract_json import is_size

_FORMULATIONS = {True: "int8 operator", False: "operator"}


def recurrent_parts(scopes: Sequence[Scope]) -> tuple[Recurrence, ...]:
    """Every LSTM, GRU and RNN node whose sizes the graph says, each under a name of its own."""
    found, names = list[Recurrence](), Counter[str]()
    for node in (node for scope in scopes for node in recurrences_of(scope)):
        name = (node.node.name or next(filter(None, node.node.output), node.operator))[:200]
        names[name] += 1
        part = _part(node, f"{name}#{names[name]}" if names[name] > 1 else name)
        found += [part] if part else []
    return tuple(found)


def other_recurrences(scopes: Sequence[Scope]) -> dict[str, int]:
    """What repeats and is in no contract: Loop and Scan nodes, written-out cells, recurrent nodes of unknown sizes."""
    found = Counter[str]()
    for scope in scopes:
        found.update(node.op_type for node in scope.nodes if is_onnx(node, "Loop", "Scan"))
        found.update(f"written-out {cell.operator} cell" for cell in written_cells(scope))
        found.update(f"{node.operator} of unknown sizes" for node in recurrences_of(scope) if _part(node, "x") is None)
    return dict(sorted(found.items()))


def has_unknown_sizes(scopes: Sequence[Scope]) -> bool:
    """Whether a recurrent node's sizes are not in its weights."""
    return any(_sizes(node) is None for scope in scopes for node in recurrences_of(scope))


def operators_of(scopes: Sequence[Scope]) -> dict[str, int]:
    """Nodes by operator, the most frequent first."""
    return dict(Counter(node.op_type for scope in scopes for node in scope.nodes).most_common())


def _part(node: RecurrentNode, name: str) -> Recurrence | None:
    sizes = _sizes(node)
    nonlinearity = _nonlinearity(node)
    if sizes is None or (node.operator == "RNN" and nonlinearity is None):
        return None
    cell: CellKind = next(kind for kind in get_args(CellKind) if kind == node.operator.lower())
    return Recurrence(
        name=name,
        form="encoder",
        cell=cell,
        input_size=sizes[0],
        hidden_size=sizes[1],
        projection_size=sizes[1],
        layers=1,
        directions=node.directions,
        batch_first=node.has_layout,
        nonlinearity=nonlinearity if node.operator == "RNN" else None,
        state_inputs=takes_states(node),
        lengths=bool(node.sequence_lens),
        formulation=_FORMULATIONS[node.quantized],
    )


def _sizes(node: RecurrentNode) -> tuple[int, int] | None:
    """I and H: of W `(D, G·H, I)`, quantized `(D, I, G·H)`; else of x."""
    weight, recurrent = (_weight_dims(node.scope, name) for name in node.node.input[1:3])
    hidden = node.hidden_size
    if hidden is None and recurrent is not None and len(recurrent) == 3:
        hidden = recurrent[1 if node.quantized else 2]
    place = 1 if node.quantized else 2
    width = weight[place] if weight is not None and len(weight) == 3 else None
    if width is None:
        x = node.scope.dims(node.x)
        width = x[-1] if x else None
    return (width, hidden) if width and hidden and is_size(width) and is_size(hidden) else None


def _weight_dims(scope: Scope, name: str) -> tuple[int | None, ...] | None:
    """A weight's dims; of one that is stored in another type, those of what it is made from."""
    node = scope.producer(name)
    if scope.dims(name) is None and node is not None and is_onnx(node, "DequantizeLinear", "Cast", "Identity"):
        return scope.dims(node.input[0])
    return scope.dims(name)


def _nonlinearity(node: RecurrentNode) -> Nonlinearity | None:
    """Of a plain RNN, tanh unless it says relu in both directions; None for another."""
    given = {name.decode(errors="replace").lower() for name in node.attributes.get("activations", (b"tanh",))}
    return next((kind for kind in get_args(Nonlinearity) if given == {kind}), None)


def listed(counts: Mapping[str, int]) -> str:
    """`3 Conv, 1 Relu`, for people."""
    return ", ".join(f"{count} {name}" for name, count in counts.items())
