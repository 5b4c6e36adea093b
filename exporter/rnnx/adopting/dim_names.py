"""The names of a foreign graph's free dims: `B` and `T` are those that reach a recurrent node as batch and time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rnnx.adopting.graph_signature import GraphSignature, as_identifier, is_unnamed
from rnnx.linting.rules.axes import BATCH, TIME, Axes
from rnnx.linting.rules.axis_tracing import traced_axes
from rnnx.linting.rules.recurrences import recurrences_of
from rnnx.linting.rules.scopes import Scope
from rnnx_runtime.contract import Dim, TensorSpec

_BATCHES = ("b", "n", "bs", "batch", "batch_size", "batchsize", "num_batch", "batch_dim", "nbatch")
_TIMES = (
    "t", "time", "frames", "seq", "seqlen", "seq_len", "seq_length", "sequence", "sequence_length", "length", "steps",
    "time_steps", "timesteps", "num_frames", "n_frames", "time_dim", "num_samples", "samples",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class NamedSignature:
    """The inputs and outputs with their dims named.

    `guessed` has what `B` and `T` are called where that alone says it; `called` has the name here of each dim by its
    name in the file, and by its place, such as `input.1`.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    guessed: Mapping[str, str]
    called: Mapping[str, str]


def named_signature(signature: GraphSignature, scopes: Sequence[Scope]) -> NamedSignature:
    """Name every free dim: B and T, those with a name of their own, and D1, D2 in order."""
    axes = _axes_by_input(scopes)
    names = _by_meaning(signature, axes)
    guessed = dict[str, str]()
    for ours, words in (("B", _BATCHES), ("T", _TIMES)):
        if ours not in names.values():
            guessed |= _by_word(signature.inputs, ours, words, names | guessed)
    guessed |= _in_front(signature.inputs, names | guessed)
    names |= guessed
    names |= _rest(signature, names)
    places = {
        f"{name}.{axis}": names[dim]
        for spec in signature.inputs
        for axis, dim in enumerate(spec.dims)
        if isinstance(dim, str)
        for name in (spec.name, signature.theirs[spec.name])
    }
    inputs, outputs = (tuple(_renamed(spec, names) for spec in side) for side in (signature.inputs, signature.outputs))
    return NamedSignature(
        inputs=inputs,
        outputs=outputs,
        guessed={own: _called(dim) for dim, own in reversed(guessed.items())},
        called={**names, **places},
    )


def _axes_by_input(scopes: Sequence[Scope]) -> Mapping[str, Axes]:
    """What the dims of the main graph's tensors stand for, seen from the recurrent nodes of its subgraphs too."""
    known: dict[int, dict[str, Axes]] = {}
    axes: dict[str, Axes] = {}
    for scope in reversed(scopes):  # inner ones stand behind those around them
        axes = traced_axes(scope, tuple(recurrences_of(scope)), known.get(id(scope)))
        if scope.outer is not None:
            own = {*scope.producers, *scope.declared, *scope.tensors}
            outside = {name: found for name, found in axes.items() if name not in own}
            known.setdefault(id(scope.outer), {}).update(outside)
        if scope is scopes[0]:
            break
    return axes


def _by_meaning(signature: GraphSignature, axes: Mapping[str, Axes]) -> dict[str, str]:
    """All batches are one; of times the first, and those without a name of their own."""
    names: dict[str, str] = {}
    for name, meaning in (("B", BATCH), ("T", TIME)):
        for symbol in _of_meaning(signature, axes, meaning):
            if name == "B" or name not in names.values() or is_unnamed(symbol):
                names.setdefault(symbol, name)
    return names


def _of_meaning(signature: GraphSignature, axes: Mapping[str, Axes], meaning: object) -> Iterator[str]:
    for spec in signature.inputs:
        own = axes.get(signature.theirs[spec.name], ())
        if len(own) == len(spec.dims):
            yield from (
                dim for dim, axis in zip(spec.dims, own, strict=True) if axis == meaning and isinstance(dim, str)
            )


def _by_word(inputs: Iterable[TensorSpec], ours: str, words: Sequence[str], names: Mapping[str, str]) -> dict[str, str]:
    """The first dim that is called so."""
    free = [dim for spec in inputs for dim in spec.dims if isinstance(dim, str) and dim not in names]
    named = [dim for dim in free if dim.lower() in words]
    return {named[0]: ours} if named else {}


def _in_front(inputs: Iterable[TensorSpec], names: Mapping[str, str]) -> dict[str, str]:
    """The axes without a name in front of others, of inputs that have no batch yet."""
    found: dict[str, str] = {}
    for spec in inputs:
        first = spec.dims[0] if len(spec.dims) > 1 else 0
        if (
            isinstance(first, str)
            and is_unnamed(first)
            and first not in names
            and "B" not in map(names.get, map(str, spec.dims))
        ):
            found[first] = "B"
    return found


def _rest(signature: GraphSignature, names: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    taken = {*names.values()}
    count = 0
    for dim in (dim for spec in (*signature.inputs, *signature.outputs) for dim in spec.dims):
        if isinstance(dim, int) or dim in names or dim in found:
            continue
        own = as_identifier(dim, "D") if not is_unnamed(dim) else ""
        while not own or own in taken:
            count += 1
            own = f"D{count}"
        found[dim] = own
        taken.add(own)
    return found


def _called(dim: str) -> str:
    return "D" if is_unnamed(dim) else as_identifier(dim, "D")


def _renamed(spec: TensorSpec, names: Mapping[str, str]) -> TensorSpec:
    def renamed(dim: Dim) -> Dim:
        return names[dim] if isinstance(dim, str) else dim

    return replace(spec, dims=tuple(renamed(dim) for dim in spec.dims))
