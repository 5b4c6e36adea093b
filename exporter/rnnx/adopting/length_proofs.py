"""Whether an input of a foreign file says how long rows are: cut rows against rows with padding."""

from collections.abc import Mapping

import numpy as np

from rnnx.proofs.running_model import RunningModel
from rnnx.truths.model_cases import CaseSource, drawn_case, in_range
from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Contract, TensorSpec
from rnnx_runtime.errors import RnnxError

_LENGTHS = (9, 5, 2)
"""Falling, as some files want them; the first is T."""


def why_no_lengths(model: RunningModel, contract: Contract, example: Mapping[str, Array], name: str) -> str:
    """What speaks against an input being lengths; empty where cut rows give what rows with padding give.

    Where the file has no axes T and B of its own, nothing can be cut: that is said too.
    """
    if not {"T", "B"} <= {*contract.free_dims}:
        return "no axes of time and batch to cut rows on"
    source = CaseSource(contract=contract, example=example)
    least = contract.ranges["T"].min if "T" in contract.ranges else 1
    lengths = [max(length, least) for length in _LENGTHS]
    sizes = in_range(source, {**source.sizes, "T": lengths[0], "B": len(lengths)})
    if (sizes["T"], sizes["B"]) != (lengths[0], len(lengths)):
        return "no sizes of time and batch at which rows can be cut"
    feeds = {**drawn_case(source, sizes, seed=0).feeds, name: np.array(lengths, _spec(contract, name).dtype)}
    try:
        whole = model.run(feeds)
        parts = [model.run(_row(contract, feeds, row, length)) for row, length in enumerate(lengths)]
    except RnnxError as error:
        return model.raised("rows of several lengths", error)
    for spec in contract.outputs:
        for row, length in enumerate(lengths):
            own = _cut(spec, whole[spec.name], row, length)
            if own is not None and not model.alike(parts[row][spec.name], own):
                return f"output {spec.name!r} of a row of {length} frames differs from that of the row cut there"
    return ""


def _spec(contract: Contract, name: str) -> TensorSpec:
    return next(spec for spec in contract.inputs if spec.name == name)


def _row(contract: Contract, feeds: Mapping[str, Array], row: int, length: int) -> dict[str, Array]:
    """The inputs of one row alone, without what lies behind its end."""
    cut = {spec.name: _cut(spec, feeds[spec.name], row, length) for spec in contract.inputs}
    return {name: feeds[name] if value is None else value for name, value in cut.items()}


def _cut(spec: TensorSpec, value: Array, row: int, length: int) -> Array | None:
    """A row of a tensor up to its length; None of a tensor without rows, or of another count of axes."""
    if spec.dims.count("B") != 1 or value.ndim != len(spec.dims):
        return None
    place = tuple(
        slice(row, row + 1) if dim == "B" else slice(0, length) if dim == "T" else slice(None) for dim in spec.dims
    )
    return np.ascontiguousarray(value[place])
