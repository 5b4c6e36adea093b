"""The states that become inputs and outputs of a model: of its layers, of its loops, and those that it keeps."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from rnnx.errors import OptionError
from rnnx.tracing.example_run import ExampleRun
from rnnx.tracing.states.carried_states import CarriedStates
from rnnx.tracing.states.kept_tensors import Holders, TensorPlace
from rnnx.tracing.states.layer_states import LayerCall, following_calls, recurrent_layers, state_shapes
from rnnx_runtime.contract import StatePair


@dataclass(frozen=True, kw_only=True)
class LayerState:
    """The state of one call of a layer: `h`, and `c` for LSTM. `last` is the number of the call that gives the next.

    A call whose state starts from values other than zeros adds them to the input and takes them off the output
    (`is_offset`): zeros stand for the model's start, such as a learned one, in every state alike.
    """

    layer: str
    call: int
    last: int
    is_offset: bool
    pairs: tuple[StatePair, ...]
    shapes: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class KeptState:
    """A tensor that the model itself keeps from one call to the next, in an attribute or a buffer."""

    place: TensorPlace
    pair: StatePair
    example: Tensor


@dataclass(frozen=True, kw_only=True)
class LiftedStates:
    """All lifted states, in the order of the model's inputs; `holders` are the attributes that keep some.

    Those that loops carry are known once the model is traced.
    """

    layers: tuple[LayerState, ...] = ()
    kept: tuple[KeptState, ...] = ()
    holders: Holders = field(default_factory=dict)
    carried: CarriedStates | None = None

    @property
    def pairs(self) -> tuple[StatePair, ...]:
        """The names of the inputs and outputs."""
        carried = self.carried.pairs if self.carried else ()
        return (*(pair for own in self.layers for pair in own.pairs), *(own.pair for own in self.kept), *carried)

    def zeros(self, like: Tensor) -> dict[str, Tensor]:
        """The start of every state at the example's batch; floats are of the dtype of `like`."""
        shapes = [(pair.input, shape) for own in self.layers for pair, shape in zip(own.pairs, own.shapes, strict=True)]
        made = {name: like.new_zeros(shape) for name, shape in shapes}
        for own in self.kept:
            dtype = like.dtype if own.example.is_floating_point() else own.example.dtype
            made[own.pair.input] = like.new_zeros(own.example.shape, dtype=dtype)
        return {**made, **(self.carried.zeros if self.carried else {})}

    def given(self, tensors: Mapping[str, Tensor]) -> dict[tuple[str, int], tuple[Tensor, ...]]:
        """The states that calls of layers start from, by the layer and the number of the call."""
        return {(own.layer, own.call): tuple(tensors[pair.input] for pair in own.pairs) for own in self.layers}

    def placed(self, tensors: Mapping[str, Tensor]) -> dict[TensorPlace, Tensor]:
        """The states that the model keeps, for it to find them; copies, because it may write into them."""
        return {own.place: tensors[own.pair.input].clone() for own in self.kept}


class StateHandover:
    """Gives lifted states to the calls of the layers in one run of the model, and collects what they leave behind."""

    def __init__(self, lifted: LiftedStates, given: Mapping[tuple[str, int], tuple[Tensor, ...]]) -> None:
        self._lifted, self._given = lifted, given
        self._starts = {(own.layer, own.call): own for own in lifted.layers}
        self._ends = {(own.layer, own.last): own for own in lifted.layers}
        self._counts: Counter[str] = Counter()
        self._added: dict[LayerState, tuple[Tensor, ...]] = {}
        self._last: dict[str, Tensor] = {}

    def start(self, layer: str, state: tuple[Tensor, ...] | None) -> tuple[Tensor, ...] | None:
        """The state that this call of the layer begins with, in place of the model's."""
        key = (layer, self._counts[layer])
        self._counts[layer] += 1
        own = self._starts.get(key)
        if own is None:
            return state
        given = self._given[key]
        if not own.is_offset or state is None:
            return given
        self._added[own] = state
        return tuple(value + start for value, start in zip(given, state, strict=True))

    def end(self, layer: str, state: tuple[Tensor, ...]) -> None:
        """Take the state that this call of the layer ends with."""
        own = self._ends.get((layer, self._counts[layer] - 1))
        if own is not None:
            added = self._added.get(own)
            values = state if added is None else (last - start for last, start in zip(state, added, strict=True))
            self._last |= {pair.output: value for pair, value in zip(own.pairs, values, strict=True)}

    def last(self, kept: Mapping[TensorPlace, Tensor]) -> dict[str, Tensor]:
        """The states of layers and those kept, by output name; `kept` is what the module holds after the run."""
        layers = {pair.output: self._last[pair.output] for own in self._lifted.layers for pair in own.pairs}
        return layers | {own.pair.output: kept[own.place] for own in self._lifted.kept}


def lifted_states(module: nn.Module, run: ExampleRun, taken: set[str], without: Collection[str] = ()) -> LiftedStates:
    """The states to lift: of every layer's call that starts from no input's values, and those that the model keeps.

    Names avoid those `taken`; layers `without` are left out.
    """
    last = following_calls(run.calls)
    own_starts = [call for call in last if not call.origins and call.layer not in without]
    layers = recurrent_layers(module)
    alone = len(own_starts) == 1 and taken.isdisjoint(("h0", "c0", "hn", "cn"))
    counts = Counter(call.layer for call in own_starts)
    prefixes = [
        "" if alone else prefix_of(call.layer) + (f"call{call.index}_" if counts[call.layer] > 1 else "")
        for call in own_starts
    ]
    states = tuple(
        _layer_state(layers[call.layer], call, last[call].index, prefix)
        for call, prefix in zip(own_starts, prefixes, strict=True)
    )
    names = {*taken, *(name for own in states for pair in own.pairs for name in (pair.input, pair.output))}
    return LiftedStates(
        layers=states,
        kept=tuple(_kept_state(place, value, names) for place, value in run.kept.items()),
        holders=run.holders,
    )


def repeated_layers(run: ExampleRun) -> frozenset[str]:
    """The layers that are called more than once, maybe at each step of a loop."""
    counts = Counter(call.layer for call in run.calls)
    return frozenset(name for name, calls in counts.items() if calls > 1)


def start_notes(run: ExampleRun, lifted: LiftedStates, states: set[str]) -> Iterator[str]:
    """What the report says of calls whose state is none of the file's: it comes from the values of plain inputs."""
    for own in lifted.layers:
        if own.is_offset:
            names = ", ".join(pair.input for pair in own.pairs)
            yield f"{names}: zeros stand for the values that layer {own.layer!r} starts from in the model"
    for name in sorted(lifted.carried.offsets if lifted.carried else ()):
        yield f"{name}: zeros stand for the values that the model's loop starts from"
    for call in following_calls(run.calls):
        sources = sorted(origin.removeprefix("input ") for origin in call.origins if origin.startswith("input "))
        if sources and states.isdisjoint(sources):
            yield f"layer {call.layer!r} starts from values of {', '.join(sources)}: its state is no input of the file"


def _layer_state(layer: Any, call: LayerCall, last: int, prefix: str) -> LayerState:
    shapes = state_shapes(layer, call.batch)
    return LayerState(
        layer=call.layer,
        call=call.index,
        last=last,
        is_offset=not call.starts_at_zero,
        pairs=tuple(StatePair(input=f"{prefix}{kind}0", output=f"{prefix}{kind}n") for kind in "hc"[: len(shapes)]),
        shapes=shapes,
    )


def _kept_state(place: TensorPlace, value: Tensor, taken: set[str]) -> KeptState:
    name = re.sub(r"\W+", "_", place.name).strip("_")
    name = f"{name}_state" if {name, f"{name}_out"} & taken else name
    return KeptState(place=place, pair=StatePair(input=name, output=f"{name}_out"), example=value)


def prefix_of(name: str) -> str:
    """A layer's name as the beginning of an input's: `encoder_`, and `layer_0_` for a number of nn.Sequential."""
    plain = re.sub(r"\W", "_", name)
    return f"{plain}_" if plain.isidentifier() else f"layer_{plain}_"


def nothing_to_lift(run: ExampleRun, *, loops: bool) -> OptionError:
    """The refusal of a model without such a state; `loops` says that it has loops over time."""
    derived = [call for call in run.calls if call.origins]
    got = "a model without a recurrent layer that keeps no state"
    remedy = "leave stateful out, or take the state as an argument of forward and return the next one"
    if loops:
        got = "a loop that goes backwards, or that starts from values of the inputs"
    elif derived:
        got = f"layer {derived[0].layer!r}, which starts from values of {_sources(derived[0])}"
        remedy = "leave stateful out: a state that is an argument of forward is an input of the file already"
    return OptionError(
        "stateful",
        got=got,
        expected="a state that depends on no input's values, such as one that starts from zeros",
        remedy=remedy,
    )


def _sources(call: LayerCall) -> str:
    found = sorted(origin.removeprefix("input ") for origin in call.origins if origin.startswith("input "))
    return ", ".join(found) or "another layer"
