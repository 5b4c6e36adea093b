"""A model that takes its sequence in chunks, held against the model itself on the whole sequence."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np

from rnnx.errors import StreamingError
from rnnx.proofs.running_model import RunningModel
from rnnx.truths.model_cases import CaseSource, drawn_case
from rnnx_runtime.array_type import Array
from rnnx_runtime.arrays.dim_sizes import shape_from_sizes
from rnnx_runtime.arrays.stream_ends import StreamEnds
from rnnx_runtime.arrays.time_axis import step_axis, time_of
from rnnx_runtime.contract import Contract

BATCHES = (1, 2, 3)

LONGEST = 13
"""Steps of the sequences that are tried, where nothing that is carried reaches further."""

MOST = 400


def prove_stream(
    model: RunningModel, whole: RunningModel, contract: Contract, example: Mapping[str, Any], *, reach: int
) -> None:
    """Run sequences in chunks of several sizes, to their end, against the whole.

    Args:
        model: what takes chunks, by the contract's names.
        whole: the model itself, by the names of its plain inputs and outputs.
        contract: the inputs, outputs and states of the first, and how it is to stream.
        example: the example's value of every input.
        reach: the largest number of frames that is carried.

    Raises:
        StreamingError: it gives other values at some size, or the model takes none of the sequences.
    """
    given = {spec.name: np.asarray(example[spec.name], spec.dtype) for spec in contract.inputs}
    trial = _Trial(model, whole, CaseSource(contract=contract, example=given))
    batches = BATCHES if "B" in contract.free_dims else (trial.source.sizes.get("B", 1),)
    problem = ""
    for batch, length in zip(cycle(batches), _lengths(trial.ends.multiple, reach), strict=False):
        try:
            expected = trial.whole_of(batch, length)
        except Exception as error:  # the model's own, which may raise anything
            problem = whole.raised(f"a sequence of {length} frames", error)
            continue
        for chunks in ((1,), (2, 3), _random_chunks(length), (length,)):
            trial.compare(batch, length, chunks, expected)
        problem = ""
    if problem:
        raise _differs(contract, problem)


def _lengths(multiple: int, reach: int) -> Iterator[int]:
    """The frames of the sequences: whole multiples and others, short ones last, which a model may refuse."""
    steps = min(MOST, max(LONGEST, -(-reach // multiple) + 5))
    yield steps * multiple
    yield (steps - 2) * multiple + multiple // 2
    yield (steps + 3) * multiple + 1
    yield from (3 * multiple - 1, LONGEST * multiple) if multiple > 1 else (4, LONGEST)


def _random_chunks(length: int) -> tuple[int, ...]:
    return tuple(np.random.default_rng(length).integers(1, 7, size=5).tolist())


class _Trial:
    """Both models, and how their inputs and outputs lie along time."""

    def __init__(self, model: RunningModel, whole: RunningModel, source: CaseSource) -> None:
        self._model, self._whole, self.source = model, whole, source
        self._contract = contract = source.contract
        self.ends = StreamEnds(contract)
        time = time_of(contract)
        self._inputs = {spec.name: step_axis(spec, time) for spec in contract.plain_inputs}
        self._outputs = {spec.name: step_axis(spec, time) for spec in contract.plain_outputs}

    def whole_of(self, batch: int, length: int) -> dict[str, Array]:
        """The plain outputs of the model itself."""
        feeds = self._frames(batch, length)
        cut = {
            name: value if (axis := self._inputs[name]) is None else value.take(range(length), axis)
            for name, value in feeds.items()
        }
        found = self._whole.run(cut)
        return {name: found[name] for name in self._outputs}

    def compare(self, batch: int, length: int, chunks: Sequence[int], expected: Mapping[str, Array]) -> None:
        """Run chunks of so many steps in turn, and hold what they give against the whole; raises StreamingError."""
        found = self._streamed(batch, length, chunks)
        for name, truth in expected.items():
            if not self._model.alike(found[name], truth):
                sizes = ", ".join(map(str, chunks))
                told = f"other values of {name!r} for {length} frames in chunks of {sizes} than for all at once"
                raise _differs(self._contract, told)

    def _streamed(self, batch: int, length: int, chunks: Sequence[int]) -> dict[str, Array]:
        contract, multiple = self._contract, self.ends.multiple
        feeds = self._frames(batch, length)
        sizes = {**self.source.sizes, "B": batch}
        state = {spec.name: np.zeros(shape_from_sizes(spec, sizes), spec.dtype) for spec in contract.state_specs}
        parts: dict[str, list[Array]] = {name: [] for name in self._outputs}
        first, total, turn = 0, self.ends.steps(length), cycle(chunks)
        while first < total:
            count = min(next(turn), total - first)
            if contract.streaming.end and (first + count) * multiple > length:
                end = contract.streaming.end
                state[end] = np.full_like(state[end], length)
            frames = range(first * multiple, (first + count) * multiple)
            call = {
                name: value if (axis := self._inputs[name]) is None else value.take(frames, axis)
                for name, value in feeds.items()
            }
            values = self._model.run({**call, **state})
            state = {pair.input: values[pair.output] for pair in contract.states}
            for name, axis in self._outputs.items():
                kept = self.ends.kept(name, first, count, length)
                parts[name].append(values[name] if axis is None else _part(values[name], axis, kept))
            first += count
        return {
            name: own[-1] if (axis := self._outputs[name]) is None else np.concatenate(own, axis)
            for name, own in parts.items()
        }

    def _frames(self, batch: int, length: int) -> dict[str, Array]:
        """Frames drawn for a sequence and what comes after its end."""
        sizes = {**self.source.sizes, "B": batch, "T": self.ends.steps(length)}
        case = drawn_case(self.source, {dim: sizes[dim] for dim in self.source.sizes}, seed=length)
        return {name: case.feeds[name] for name in self._inputs}


def _part(value: Array, axis: int, kept: slice) -> Array:
    return value[(slice(None),) * axis + (kept,)]


def _differs(contract: Contract, got: str) -> StreamingError:
    return StreamingError(
        f"stateful, {contract.source.file}",
        got=got,
        expected="the same values in chunks of any size",
        remedy="export with stateful='recurrent' (--stateful=recurrent), which carries the states of recurrent layers "
        "alone, and stream nothing else",
    )
