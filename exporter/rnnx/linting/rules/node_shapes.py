"""`recurrent-shapes` and `recurrent-types`: a recurrent node whose inputs do not fit each other or its attributes.

Shapes as https://onnx.ai/onnx/operators/onnx__LSTM.html and its neighbours have them: X `(T, B, I)`, W `(D, G·H, I)`,
R `(D, G·H, H)`, B `(D, 2·G·H)`, P `(D, 3·H)`, the states `(D, B, H)`. ONNX's checker compares none of them, and
backends read what lies there.
"""

from collections.abc import Iterator, Mapping
from itertools import zip_longest

from rnnx.linting.findings import Finding
from rnnx.linting.rules.examined_model import ExaminedModel
from rnnx.linting.rules.recurrences import Recurrence
from rnnx.linting.rules.scopes import input_of, type_name

_ACTIVATIONS = {"LSTM": 3, "GRU": 2, "RNN": 1}
_NAMES = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")

Dims = tuple[int | None, ...]


def find(model: ExaminedModel) -> Iterator[Finding]:
    """Every recurrent node with such an input or attribute; quantized ones have layouts of their own."""
    for layer in model.layers:
        if not layer.quantized:
            told = [*_shapes(layer), *_activations(layer)]
            if told:
                message = (
                    f"{', '.join(told)}, as its attributes and other inputs have it: backends refuse it, or read on"
                )
                yield _finding(layer, "recurrent-shapes", message)
            kinds = _types(layer)
            if len(set(kinds.values())) > 1:
                yield _finding(
                    layer,
                    "recurrent-types",
                    f"{_listed(kinds)}, where ONNX wants one type for all: no backend loads the file",
                )


def _finding(layer: Recurrence, rule: str, message: str) -> Finding:
    return Finding(
        rule=rule,
        severity="error",
        node=layer.shown,
        message=message,
        fix="give the node the weights and attributes of one layer, or export the model again",
    )


def _shapes(layer: Recurrence) -> Iterator[str]:
    """Each input with another shape than the attributes and the other inputs ask for."""
    hidden = layer.hidden_size or _last(layer, 2)
    x, own_batch = layer.scope.dims(layer.x), 0 if layer.has_layout else 1
    if not hidden:
        return
    width, batch = (x[2], x[own_batch]) if x is not None and len(x) == 3 else (None, None)
    count, gates = layer.directions, layer.gates * hidden
    state: Dims = (batch, count, hidden) if layer.has_layout else (count, batch, hidden)
    wanted: tuple[Dims | None, ...] = (
        (None, None, None), (count, gates, width), (count, gates, hidden), (count, 2 * gates), (batch,), state, state,
        (count, 3 * hidden),
    )  # fmt: skip
    for place, (name, expected) in enumerate(zip(_NAMES, wanted, strict=True)):
        dims = layer.scope.dims(input_of(layer.node, place))
        if dims is not None and expected is not None and not _fits(dims, expected):
            yield f"{name} is {_shown(dims)}, not {_shown(expected)}"


def _activations(layer: Recurrence) -> Iterator[str]:
    given = layer.attributes.get("activations")
    wanted = _ACTIVATIONS[layer.operator] * layer.directions
    if given is not None and len(given) != wanted:
        yield f"it has {len(given)} activations, not {wanted}"


def _types(layer: Recurrence) -> dict[str, int]:
    """The element type of each input that has the type of x."""
    kinds = ((name, layer.scope.element_type(input_of(layer.node, place))) for place, name in enumerate(_NAMES))
    return {name: kind for name, kind in kinds if kind and name != "sequence_lens"}


def _listed(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{name} is {type_name(kind)}" for name, kind in kinds.items())


def _fits(dims: Dims, expected: Dims) -> bool:
    pairs = zip_longest(dims, expected, fillvalue=-1)
    return all(own is None or other is None or own == other for own, other in pairs)


def _last(layer: Recurrence, place: int) -> int | None:
    dims = layer.scope.dims(input_of(layer.node, place))
    return dims[-1] if dims else None


def _shown(dims: Dims) -> str:
    return f"({', '.join('…' if dim is None else str(dim) for dim in dims)})"
