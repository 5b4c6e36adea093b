"""How a model streams, found by running it: a sequence in chunks of several sizes against the whole."""

import re
from collections.abc import Mapping, Sequence
from itertools import accumulate, cycle, islice
from typing import Any

import numpy as np

from rnnx.proofs.running_model import RunningModel, Watched
from rnnx.truths.model_cases import CaseSource, drawn_case
from rnnx.truths.stream import Calls, Stream, run_calls
from rnnx_runtime.array_type import Array
from rnnx_runtime.arrays.time_axis import time_of, why_no_next_step
from rnnx_runtime.contract import Contract, Dim, Streaming

CHUNKS = ((1,), (2, 3), (5, 1, 4))
"""The sizes that chunks have in turn: frame by frame, small ones, and of different sizes."""

LONGEST = 12
"""Time steps of the sequence, where the model leaves its time free."""


def streaming_of(
    model: RunningModel, contract: Contract, example: Mapping[str, Any], times: Mapping[str, Dim]
) -> Streaming:
    """Whether chunks with the states carried give what the whole sequence gives, and the layer that is in the way.

    Args:
        model: what runs it.
        contract: its inputs, outputs, states and recurrent layers.
        example: the example's value of every input, states included: arrays or tensors.
        times: the dim that each recurrent layer runs over, by the layer's name; without cells.
    """
    if contract.decoder is not None:
        return Streaming(kind="exact")  # its step by definition: the next call takes the next token
    if not contract.states:
        return Streaming(kind="no", reason="a model without states as inputs and outputs")
    other = _other_axes(contract, times)
    if other:
        return Streaming(kind="no", reason=other)
    backward = [own for own in contract.recurrent if own.directions == 2 and own.form == "encoder"]
    time = time_of(contract)
    if time is not None and backward:
        return Streaming(
            kind="no", reason=f"the bidirectional layer {backward[0].name!r}, which needs the whole sequence"
        )
    reason = why_no_next_step(contract)
    if reason:
        return Streaming(kind="no", reason=reason)
    if time is None:
        return Streaming(kind="exact")  # each call is one step
    return _compared(model, contract, example)


def _other_axes(contract: Contract, times: Mapping[str, Dim]) -> str:
    """What does not run over the axes that frames follow each other on, T, and streams lie beside each other on, B."""
    for spec in (*contract.plain_inputs, *contract.plain_outputs, *contract.state_specs):
        if "B" not in spec.dims and {*contract.free_dims} - {"T"}:  # with none but T, all rows are one stream
            return f"{spec.name!r} {spec.shape}, which has no axis B for a row of each stream"
    for layer, dim in times.items():
        if dim != 1 and not re.search(r"\bT\b", str(dim)):
            return f"the layer {layer!r}, which runs over {dim}: the axis of time to stream on is the one named T"
    return ""


def _compared(model: RunningModel, contract: Contract, example: Mapping[str, Any]) -> Streaming:
    given = {spec.name: np.asarray(example[spec.name], spec.dtype) for spec in contract.inputs}
    source = CaseSource(contract=contract, example=given)
    total = max(LONGEST, source.sizes.get("T", 0))
    sizes = {**source.sizes, "T": total, "B": 2}
    stream = _stream(contract, drawn_case(source, {dim: sizes[dim] for dim in source.sizes}, seed=0).feeds)

    def streamed(sizes: Sequence[int]) -> tuple[dict[str, Array], Watched]:
        with model.watched() as calls:
            found = run_calls(lambda case: model.run(case.feeds), contract, stream, sizes)
        return found.named(), calls

    try:
        expected, whole = streamed([total])
    except Exception as error:  # the model's own, which may raise anything
        return Streaming(kind="no", reason=model.raised(f"a sequence of {total} frames", error))
    for chunks in CHUNKS:
        parts = _chunks(total, chunks)
        try:
            found, calls = streamed(parts)
        except Exception as error:
            return Streaming(kind="chunked", reason=model.raised(f"chunks of {chunks[0]} frames", error))
        differing = next((name for name, value in expected.items() if not model.alike(found[name], value)), "")
        if differing:
            where = _first_differing(model, whole, calls, parts)
            told = f"{where} gives other values in chunks" if where else "its values differ in chunks"
            return Streaming(kind="chunked", reason=f"{told} (output {differing!r})")
    return Streaming(kind="exact")


def _stream(contract: Contract, feeds: Mapping[str, Array]) -> Stream:
    calls = Calls(contract)
    return Stream(
        frames={spec.name: calls.time_first(spec, feeds[spec.name]) for spec in calls.framed},
        state={spec.name: feeds[spec.name] for spec in contract.state_specs},
        fixed={spec.name: feeds[spec.name] for spec in calls.fixed},
        unit=calls.unit,
    )


def _chunks(total: int, sizes: Sequence[int]) -> list[int]:
    """Sizes in turn, the last cut where the sequence ends."""
    ends = [min(end, total) for end in accumulate(islice(cycle(sizes), total))]
    return [size for size in np.diff(ends, prepend=0).tolist() if size]


def _first_differing(model: RunningModel, whole: Watched, chunked: Watched, sizes: Sequence[int]) -> str:
    """The first layer whose values in chunks are not those of the whole; empty where none can be told."""
    total = sum(sizes)
    for name, values in whole.items():
        parts = chunked.get(name, [])
        if len(values) != 1 or len(parts) != len(sizes):
            continue  # called more often than once, or not in every chunk
        axes = [axis for axis, size in enumerate(values[0].shape) if size == total]
        fitting = [axis for axis in axes if all(p.shape[axis] == n for p, n in zip(parts, sizes, strict=True))]
        if not fitting:
            return name  # it gives another number of frames
        if not any(model.alike(np.concatenate(parts, axis), values[0]) for axis in fitting):
            return name
    return ""
