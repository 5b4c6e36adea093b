"""Which input takes what an output gave: told by a graph's own structure, by names, or by the caller."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rnnx.adopting.handed_values import HandedValues, Value
from rnnx.adopting.state_names import state_name
from rnnx.adopting.state_sites import Place, StateSites, state_sites
from rnnx.errors import OptionError
from rnnx_runtime.contract import Dim, StatePair, TensorSpec

Evidence = Literal["given", "graph", "names"]


@dataclass(frozen=True, kw_only=True)
class FoundState:
    """A pair and what speaks for it: `why` is a place of the graph, or what the names share."""

    pair: StatePair
    evidence: Evidence
    why: str

    @property
    def shown(self) -> str:
        """`h → hn (graph: LSTM '/lstm')`."""
        return f"{self.pair.input} → {self.pair.output} ({f'{self.evidence}: {self.why}' if self.why else 'as given'})"


def found_states(
    handed: HandedValues,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    given: Mapping[str, str],
    names: Mapping[str, str],
) -> tuple[FoundState, ...]:
    """The pairs that are given, then those of the graph, then those of names; each input and output once.

    Args:
        handed: what the graph only rearranges.
        inputs: the inputs that may be states, in order; one of them stays a plain one.
        outputs: the outputs, of which one stays a plain one.
        given: input to output, by the caller.
        names: the graph's name of each input and output.

    Raises:
        OptionError: `given` names what is not there, an output twice, or a pair of unequal dtypes or shapes.
    """
    found = list(_given(inputs, outputs, given))
    for state in (*_by_graph(handed, inputs, outputs, names), *_by_names(inputs, outputs)):
        taken = {name for own in found for name in (own.pair.input, own.pair.output)}
        is_last = len(found) + 1 >= min(len(inputs), len(outputs)) and state.evidence == "names"
        if not is_last and not taken & {state.pair.input, state.pair.output}:
            found.append(state)
    places = [spec.name for spec in inputs]
    return tuple(sorted(found, key=lambda own: places.index(own.pair.input)))


def open_states(
    handed: HandedValues,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    names: Mapping[str, str],
    found: Sequence[FoundState],
) -> Iterator[str]:
    """What is given out as a recurrent layer's state and goes into no input, though one has its shape, in words."""
    sites = state_sites(handed)
    taken = {name for own in found for name in (own.pair.input, own.pair.output)}
    known = {dim for spec in inputs for dim in spec.dims if isinstance(dim, str)}
    for other in outputs:
        places = sorted(_places(handed.sources_of(names[other.name]), sites.ends) - sites.joins)
        alike = [one.name for one in inputs if one.name not in taken and _is_of_size(one, other, known)]
        if places and alike and other.name not in taken:
            told = " or ".join(f"--state {name}={other.name}" for name in alike)
            yield f"{other.name} is a state of {places[0][0]} that no input is known to take: if one does, say {told}"


def are_equal(one: TensorSpec, other: TensorSpec) -> bool:
    """Whether an input and an output can be one state: no two of their sizes contradict each other."""
    pairs = zip(one.dims, other.dims, strict=False)
    return one.dtype == other.dtype and len(one.dims) == len(other.dims) and all(_may_be(*pair) for pair in pairs)


def _may_be(one: Dim, other: Dim) -> bool:
    """Whether two dims can be one size; no state is as long as the time of a call."""
    return one == other or ("T" not in (one, other) and (isinstance(one, str) or isinstance(other, str)))


def _given(
    inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], given: Mapping[str, str]
) -> Iterator[FoundState]:
    sides = {spec.name: spec for spec in inputs}, {spec.name: spec for spec in outputs}
    for name, output in given.items():
        for kind, own, side in zip(("input", "output"), (name, output), sides, strict=True):
            if own not in side:
                raise _unfit(f"{kind} {own!r}", f"one of the {kind}s {', '.join(side)}", f"name an {kind}")
        one, other = sides[0][name], sides[1][output]
        if not are_equal(one, other):
            got = f"{name} {one.dtype} {one.shape} with {output} {other.dtype} {other.shape}"
            expected = "one dtype and one shape, since the next call takes what this one gives"
            raise _unfit(got, expected, "name the output that follows the input")
        if list(given.values()).count(output) > 1:
            raise _unfit(f"output {output!r} for two inputs", "an output for each", "name each output once")
        yield FoundState(pair=StatePair(input=name, output=output), evidence="given", why="")


def _by_graph(
    handed: HandedValues, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], names: Mapping[str, str]
) -> Iterator[FoundState]:
    """The pairs with the most places in common first; what only names the same Concat comes last."""
    sites = state_sites(handed)
    starts = {spec.name: _places(handed.reached_from(names[spec.name]), sites.starts) for spec in inputs}
    sources = {spec.name: handed.sources_of(names[spec.name]) for spec in outputs}
    ends = {name: _places(values, sites.ends) for name, values in sources.items()}
    wholes = {name: _places(values, sites.wholes) - ends[name] for name, values in sources.items()}
    known = {dim for spec in inputs for dim in spec.dims if isinstance(dim, str)}
    ranked = list[tuple[tuple[bool, bool, int, int, bool, int], FoundState]]()
    for order, one in enumerate(inputs):
        for other in outputs:
            common = starts[one.name] & (ends[other.name] | wholes[other.name])
            if not common or not are_equal(one, other):
                continue
            strong = sorted(common - sites.joins)
            joined = [spec for spec in inputs if common & starts[spec.name]]
            if not strong and not _is_cache(one, other, joined, known):
                continue
            why = (strong or sorted(common))[0][0]
            state = FoundState(pair=StatePair(input=one.name, output=other.name), evidence="graph", why=why)
            same = state_name(one.name) == state_name(other.name)
            is_whole = not common & ends[other.name]
            ranked.append(
                ((not _is_of_size(one, other, known), is_whole, -len(strong), -len(common), not same, order), state)
            )
    of_cells = _of_cells(sites, starts, ends, inputs, outputs)
    ranked += [((True, True, 0, 0, True, order), own) for order, own in enumerate(of_cells)]
    yield from (state for _, state in sorted(ranked, key=lambda own: own[0]))


def _of_cells(
    sites: StateSites,
    starts: Mapping[str, set[Place]],
    ends: Mapping[str, set[Place]],
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
) -> Iterator[FoundState]:
    """An output made of the states of written-out cells alone, and the only input of its shape after the first."""
    for other in outputs:
        cells = sorted(place for place in ends[other.name] if " cell " in place[0])
        alike = [one for one in inputs[1:] if are_equal(one, other) and not starts[one.name] - sites.joins]
        if cells and len(other.dims) > 1 and len(alike) == 1 and not are_equal(inputs[0], other):
            pair = StatePair(input=alike[0].name, output=other.name)
            yield FoundState(pair=pair, evidence="graph", why=cells[0][0])


def _places(values: set[Value], sites: Mapping[Value, tuple[Place, ...]]) -> set[Place]:
    return {place for value in values for place in sites.get(value, ())}


def _is_cache(one: TensorSpec, other: TensorSpec, joined: Sequence[TensorSpec], known: Collection[str]) -> bool:
    """Whether an input is the only one of those that come together which has all sizes of an output."""
    return _is_of_size(one, other, known) and sum(_is_of_size(spec, other, known) for spec in joined) == 1


def _is_of_size(one: TensorSpec, other: TensorSpec, known: Collection[str]) -> bool:
    """Whether dims are equal, but for the batch, and for an output's that are called like none of the inputs'."""
    pairs = zip(one.dims, other.dims, strict=False)
    return are_equal(one, other) and all(
        a == b or a == "B" or (a == 1 and at == 0) or (isinstance(b, str) and b not in known)
        for at, (a, b) in enumerate(pairs)
    )


def _by_names(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Iterator[FoundState]:
    """An input and the one output of its name and shape; a name that two outputs have says nothing."""
    stems = Counter(state_name(spec.name) for spec in outputs)
    for one in inputs:
        stem = state_name(one.name)
        alike = [spec for spec in outputs if stem and _same(stem, state_name(spec.name)) and are_equal(one, spec)]
        exact = [spec for spec in alike if state_name(spec.name) == stem]
        chosen = exact if len(exact) == 1 else alike
        if len(chosen) == 1 and stems[state_name(chosen[0].name)] == 1:
            pair = StatePair(input=one.name, output=chosen[0].name)
            yield FoundState(pair=pair, evidence="names", why=f"both are {stem!r}")


def _same(one: str, other: str) -> bool:
    return one == other or one.rstrip("s") == other.rstrip("s")


def _unfit(got: str, expected: str, remedy: str) -> OptionError:
    return OptionError("states", got=got, expected=expected, remedy=remedy)
