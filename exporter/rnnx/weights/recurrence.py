"""Finding recurrent layers and cells among named tensors, by key names and shapes alone.

Key names are PyTorch's: `weight_ih_l{k}`, `weight_hh_l{k}`, `bias_ih_l{k}`, `bias_hh_l{k}`, `weight_hr_l{k}` for a
projection, `_reverse` for the backward direction; a cell's keys have no `_l{k}`. The rows of `weight_hh` per hidden
unit are the gate count: 4 for LSTM, 3 for GRU, 1 for a plain RNN
(https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html, section Variables).
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from rnnx.errors import WeightsError
from rnnx.weights.named_tensors import TensorInfo
from rnnx_runtime.contract import Form, Nonlinearity, Recurrence

Kind = Literal["lstm", "gru", "rnn"]

GATES: dict[Kind, int] = {"lstm": 4, "gru": 3, "rnn": 1}

_STEMS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
"""How the names of a recurrent layer's and a cell's tensors begin."""


@dataclass(frozen=True, kw_only=True)
class RecurrentModule:
    """A recurrent layer (`nn.LSTM`, `nn.GRU`, `nn.RNN`) or cell (`nn.LSTMCell`, …) found in a checkpoint.

    `projection_size` is the width of `h`, equal to `hidden_size` without projection; `parameters` counts numbers.
    """

    prefix: str
    kind: Kind
    is_cell: bool
    input_size: int
    hidden_size: int
    projection_size: int
    layers: int
    directions: int
    bias: bool
    dtype: str
    parameters: int

    @property
    def type_name(self) -> str:
        """PyTorch's class name, such as `nn.LSTMCell`."""
        return f"nn.{self.kind.upper()}{'Cell' if self.is_cell else ''}"

    @property
    def is_projected(self) -> bool:
        """Whether `h` is a projection, narrower than `c`: an LSTM with `proj_size`."""
        return self.projection_size != self.hidden_size

    @property
    def shown_prefix(self) -> str:
        """The key prefix as text, `(root)` where there is none."""
        return self.prefix or "(root)"

    def keys(self, layer: int, direction: int) -> dict[str, str]:
        """The checkpoint's keys of one layer and direction by name: `weight_ih`, `weight_hh`, and more."""
        suffix = "" if self.is_cell else _suffix(layer, direction)
        lead = f"{self.prefix}." if self.prefix else ""
        names = ["weight_ih", "weight_hh"]
        names += ["bias_ih", "bias_hh"] if self.bias else []
        names += ["weight_hr"] if self.is_projected else []
        return {name: f"{lead}{name}{suffix}" for name in names}


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What was found among named tensors: whole modules, and by prefix what is wrong with what only looks like one.

    A key named `weight_ih` may belong to somebody's own cell, which must not keep a sound layer beside it from use.
    """

    modules: tuple[RecurrentModule, ...]
    broken: Mapping[str, WeightsError]


def survey_recurrent_modules(tensors: Mapping[str, TensorInfo]) -> Survey:
    """Every recurrent layer and cell among the tensors, in the order of their first key."""
    modules: list[RecurrentModule] = []
    broken: dict[str, WeightsError] = {}
    recurrent = _by_prefix(tensors)
    for key in tensors:
        for ending, is_cell in (("weight_ih_l0", False), ("weight_ih", True)):
            if key == ending or key.endswith(f".{ending}"):
                prefix = key.removesuffix(ending).removesuffix(".")
                try:
                    modules.append(_module(recurrent[prefix], prefix, is_cell))
                except WeightsError as error:
                    broken[prefix] = error
    return Survey(modules=tuple(modules), broken=broken)


def _module(own: Mapping[str, TensorInfo], prefix: str, is_cell: bool) -> RecurrentModule:
    first = "" if is_cell else "_l0"
    recurrent = _shape(own, prefix, f"weight_hh{first}")
    projection = _projection(own, prefix, f"weight_hr{first}")
    hidden = projection[1] if projection else recurrent[1]
    kind = _kind(prefix, f"weight_hh{first}", recurrent, hidden)
    layers, directions = (1, 1) if is_cell else _stack(own)
    module = RecurrentModule(
        prefix=prefix,
        kind=kind,
        is_cell=is_cell,
        input_size=_shape(own, prefix, f"weight_ih{first}")[1],
        hidden_size=hidden,
        projection_size=projection[0] if projection else hidden,
        layers=layers,
        directions=directions,
        bias=f"bias_ih{first}" in own,
        dtype=own[f"weight_hh{first}"].dtype,
        parameters=0,
    )
    expected = _expected_shapes(module, projected=projection is not None)
    for name, shape in expected.items():
        _check_shape(own, prefix, name, shape)
    _refuse_leftovers(own, expected, prefix, is_cell)
    return RecurrentModule(**{**vars(module), "parameters": sum(_size(shape) for shape in expected.values())})


def _by_prefix(tensors: Mapping[str, TensorInfo]) -> dict[str, dict[str, TensorInfo]]:
    """The tensors whose names begin as a recurrent layer's, by the prefix before, then by the name behind it."""
    found: dict[str, dict[str, TensorInfo]] = defaultdict(dict)
    for key, info in tensors.items():
        for prefix, name in _cuts(key):
            found[prefix][name] = info
    return found


def _cuts(key: str) -> Iterator[tuple[str, str]]:
    """Where a key's name begins: behind its last dot, and before where the name has a dot, as `weight_ih_l0.x`."""
    prefix, _, name = key.rpartition(".")
    if name.startswith(_STEMS):
        yield prefix, name
    parts = key.split(".")
    first = next((index for index, part in enumerate(parts[:-1]) if part.startswith(_STEMS)), None)
    if first is not None:
        yield ".".join(parts[:first]), ".".join(parts[first:])


def _shape(own: Mapping[str, TensorInfo], prefix: str, name: str) -> tuple[int, ...]:
    info = own.get(name)
    _refuse_flaw(info, prefix, name)
    if info is None or len(info.shape) != 2 or 0 in info.shape:
        got = "no such key" if info is None else str(info.shape)
        raise _contradiction(prefix, name, got, "a matrix, not empty")
    return info.shape


def _projection(own: Mapping[str, TensorInfo], prefix: str, name: str) -> tuple[int, ...] | None:
    """The shape `(P, H)` of a projection; PyTorch makes none with P ≥ H."""
    if name not in own:
        return None
    shape = _shape(own, prefix, name)
    if shape[0] >= shape[1]:
        raise _contradiction(prefix, name, str(shape), "(P, H) with P < H")
    return shape


def _kind(prefix: str, name: str, recurrent: tuple[int, ...], hidden: int) -> Kind:
    for kind, gates in GATES.items():
        if recurrent[0] == gates * hidden:
            return kind
    raise _contradiction(prefix, name, str(recurrent), f"4 (LSTM), 3 (GRU) or 1 (RNN) times {hidden} rows")


def _stack(own: Mapping[str, TensorInfo]) -> tuple[int, int]:
    layers = 1
    while f"weight_ih_l{layers}" in own:
        layers += 1
    return layers, 2 if "weight_ih_l0_reverse" in own else 1


def _expected_shapes(module: RecurrentModule, *, projected: bool) -> dict[str, tuple[int, ...]]:
    rows = GATES[module.kind] * module.hidden_size
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(module.layers):
        width = module.directions * module.projection_size if layer else module.input_size
        for direction in range(module.directions):
            suffix = "" if module.is_cell else _suffix(layer, direction)
            shapes[f"weight_ih{suffix}"] = (rows, width)
            shapes[f"weight_hh{suffix}"] = (rows, module.projection_size)
            if module.bias:
                shapes[f"bias_ih{suffix}"] = shapes[f"bias_hh{suffix}"] = (rows,)
            if projected:
                shapes[f"weight_hr{suffix}"] = (module.projection_size, module.hidden_size)
    return shapes


def _check_shape(own: Mapping[str, TensorInfo], prefix: str, name: str, expected: tuple[int, ...]) -> None:
    info = own.get(name)
    _refuse_flaw(info, prefix, name)
    if info is None or info.shape != expected:
        raise _contradiction(prefix, name, "no such key" if info is None else str(info.shape), str(expected))


def _refuse_flaw(info: TensorInfo | None, prefix: str, name: str) -> None:
    if info is not None and info.flaw:
        key = f"{prefix}.{name}" if prefix else name
        raise WeightsError(
            f"key {key!r}", got=info.flaw, expected="a plain tensor", remedy="save the weights as plain, dense tensors"
        )


def _refuse_leftovers(
    own: Mapping[str, TensorInfo], expected: Mapping[str, object], prefix: str, is_cell: bool
) -> None:
    """Refuse a recurrent key that the module found does not account for, such as a layer after a gap."""
    stems = _STEMS if is_cell else tuple(f"{stem}_l" for stem in _STEMS)
    for name in own:
        if name not in expected and (name in stems if is_cell else name.startswith(stems)):
            raise _contradiction(prefix, name, "a key that fits no layer", "keys of consecutive layers and directions")


def _suffix(layer: int, direction: int) -> str:
    return f"_l{layer}{'_reverse' if direction else ''}"


def _size(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


def _contradiction(prefix: str, name: str, got: str, expected: str) -> WeightsError:
    key = f"{prefix}.{name}" if prefix else name
    return WeightsError(
        f"key {key!r}", got=got, expected=expected, remedy="the checkpoint is damaged or was edited: save it again"
    )


def recurrence_from_module(
    module: RecurrentModule,
    *,
    form: Form,
    formulation: str,
    state_inputs: bool,
    lengths: bool,
    name: str = "",
    steps: int | None = None,
    batch_first: bool = False,
    nonlinearity: Nonlinearity | None = None,
) -> Recurrence:
    """A module as one form of it computes; what tensors do not say is given, tanh where a plain RNN's is left out."""
    return Recurrence(
        name=name,
        form=form,
        cell=module.kind,
        input_size=module.input_size,
        hidden_size=module.hidden_size,
        projection_size=module.projection_size,
        layers=module.layers,
        directions=module.directions,
        steps=steps,
        batch_first=batch_first and not module.is_cell,
        nonlinearity=(nonlinearity or "tanh") if module.kind == "rnn" else None,
        state_inputs=state_inputs,
        lengths=lengths,
        formulation=formulation,
    )
