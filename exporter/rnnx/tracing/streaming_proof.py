"""How a model streams, found by running it: a sequence in chunks of several sizes against the whole, in float64."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, cycle, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rnnx.tracing.eager import EagerModel
from rnnx.tracing.sameness import alike, raised
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
    eager: EagerModel, contract: Contract, example: Mapping[str, Any], times: Mapping[str, Dim]
) -> Streaming:
    """Whether chunks with the states carried give what the whole sequence gives, and the layer that is in the way.

    Args:
        eager: the model, nothing of it patched.
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
    return _compared(eager, contract, example)


def _other_axes(contract: Contract, times: Mapping[str, Dim]) -> str:
    """What does not run over the axes that frames follow each other on, T, and streams lie beside each other on, B."""
    for spec in (*contract.plain_inputs, *contract.plain_outputs, *contract.state_specs):
        if "B" not in spec.dims:
            return f"{spec.name!r} {spec.shape}, which has no axis B for a row of each stream"
    for layer, dim in times.items():
        if dim != 1 and not re.search(r"\bT\b", str(dim)):
            return f"the layer {layer!r}, which runs over {dim}: the axis of time to stream on is the one named T"
    return ""


def _compared(eager: EagerModel, contract: Contract, example: Mapping[str, Any]) -> Streaming:
    given = {spec.name: np.asarray(example[spec.name], spec.dtype) for spec in contract.inputs}
    source = CaseSource(contract=contract, example=given)
    total = max(LONGEST, source.sizes.get("T", 0))
    sizes = {**source.sizes, "T": total, "B": 2}
    stream = _stream(contract, drawn_case(source, {dim: sizes[dim] for dim in source.sizes}, seed=0).feeds)
    module = eager.module(torch.float64)

    def streamed(sizes: Sequence[int]) -> tuple[dict[str, Array], dict[str, list[Tensor]]]:
        with _Watched(module) as watched:
            found = run_calls(lambda case: eager.outputs(case.feeds, torch.float64), contract, stream, sizes)
        return found.named(), watched.calls

    try:
        expected, whole = streamed([total])
    except Exception as error:  # the model's own, which may raise anything
        return Streaming(kind="no", reason=raised(f"a sequence of {total} frames", error))
    for chunks in CHUNKS:
        parts = _chunks(total, chunks)
        try:
            found, calls = streamed(parts)
        except Exception as error:
            return Streaming(kind="chunked", reason=raised(f"chunks of {chunks[0]} frames", error))
        differing = next((name for name, value in expected.items() if not alike(found[name], value)), "")
        if differing:
            where = _first_differing(whole, calls, parts)
            told = f"{where} gives other values in chunks" if where else "its values differ in chunks"
            return Streaming(kind="chunked", reason=f"{told} (output {differing!r})")
    return Streaming(kind="exact")


def _stream(contract: Contract, feeds: Mapping[str, Array]) -> Stream:
    calls = Calls(contract)
    return Stream(
        frames={spec.name: calls.time_first(spec, feeds[spec.name]) for spec in calls.framed},
        state={spec.name: feeds[spec.name] for spec in contract.state_specs},
        fixed={spec.name: feeds[spec.name] for spec in calls.fixed},
    )


def _chunks(total: int, sizes: Sequence[int]) -> list[int]:
    """Sizes in turn, the last cut where the sequence ends."""
    ends = [min(end, total) for end in accumulate(islice(cycle(sizes), total))]
    return [size for size in np.diff(ends, prepend=0).tolist() if size]


@dataclass
class _Watched:
    """Records what each submodule without children gave at each of its calls, in the order of the first."""

    module: nn.Module
    calls: dict[str, list[Tensor]] = field(default_factory=dict)

    def __enter__(self) -> "_Watched":
        leaves = [(name, own) for name, own in self.module.named_modules() if not list(own.children())]
        self._hooks = [own.register_forward_hook(self._taker(name, own)) for name, own in leaves]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _taker(self, name: str, own: nn.Module) -> Any:
        shown = f"layer {name!r} ({type(own).__name__})" if name else type(own).__name__

        def take(_: nn.Module, __: Any, result: Any) -> None:
            first = result[0] if isinstance(result, tuple) and result else result
            if isinstance(first, Tensor):
                self.calls.setdefault(shown, []).append(first.detach().clone())

        return take


def _first_differing(
    whole: Mapping[str, Sequence[Tensor]], chunked: Mapping[str, Sequence[Tensor]], sizes: Sequence[int]
) -> str:
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
        if not any(alike(torch.cat(list(parts), axis).numpy(), values[0].numpy()) for axis in fitting):
            return name
    return ""
