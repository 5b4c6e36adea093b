"""The golden file of a whole model: seeded inputs, PyTorch's float64 outputs, and how far its float32 is from them.

Laid out as a layer's (`rnnx.truths.golden`); `left_out` says in words at which sizes PyTorch itself has no answer.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from rnnx.errors import ExportError
from rnnx.truths.cases import Case
from rnnx.truths.comparable import comparable, largest_apart
from rnnx.truths.golden import cases_from_arrays, check_whole, damaged_golden, golden_arrays, golden_bytes
from rnnx.truths.model_cases import EXAMPLE, CaseSource, drawn_cases, with_sorted_lengths
from rnnx.truths.truth import CaseTruth
from rnnx_runtime.array_type import Array
from rnnx_runtime.arrays.dim_sizes import sizes_from_feeds
from rnnx_runtime.contract import Contract, TensorSpec
from rnnx_runtime.dim_expressions import size_of

_LEFT_OUT = "left_out"

Draw = Callable[[CaseSource, int], Iterable[Case]]
"""Draws cases with a seed; another seed gives cases of the same names and sizes."""

_SEEDS = 3
"""How often a case is drawn anew whose integers PyTorch's float32 does not share with its float64."""


class EagerModel(Protocol):
    """The model as PyTorch runs it."""

    def outputs(self, feeds: Mapping[str, Array], dtype: Any) -> dict[str, Array]:
        """Every output of the contract, computed in a `torch.dtype`; raises what the model itself raises."""


@runtime_checkable
class MeasuredModel(Protocol):
    """A model that is its own truth, such as a file whose weights are nowhere else; `name` is what runs it."""

    name: str

    def measured(self, feeds: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
        """Every output of the contract, and the same rounded otherwise, which shows how far rounding reaches."""


@dataclass(frozen=True, kw_only=True)
class ModelTruth:
    """The cases with their truth, and what was left out and why."""

    entries: tuple[CaseTruth, ...]
    left_out: tuple[str, ...]

    @property
    def example(self) -> CaseTruth:
        """The case that is the export's example."""
        return next(entry for entry in self.entries if entry.case.name == EXAMPLE)


def model_golden_bytes(truth: ModelTruth, weights_sha256: str) -> bytes:
    """A golden file's content; the same truth gives the same bytes."""
    left_out = np.array("\n".join(truth.left_out))
    return golden_bytes(truth.entries, weights_sha256, **{_LEFT_OUT: left_out})


def model_truth(
    eager: EagerModel | MeasuredModel,
    contract: Contract,
    examples: Mapping[str, Any],
    draw: Draw = drawn_cases,
    *,
    on_case: Callable[[], None] = lambda: None,
) -> ModelTruth:
    """The truth of an example and of cases around it.

    Args:
        eager: the model, nothing of it patched, or a file that is its own truth.
        contract: its inputs, outputs, states and lengths.
        examples: the example's value of every input, states included: arrays or tensors.
        draw: the cases besides the example.
        on_case: is called after each of them.

    Raises:
        ExportError: PyTorch gives no finite answer, or another one in float32, even for the example.
    """
    example = {spec.name: np.asarray(examples[spec.name], spec.dtype) for spec in contract.inputs}
    source = CaseSource(contract=contract, example=example)
    own = _truth(eager, contract, Case(name=EXAMPLE, feeds=example))
    if isinstance(own, str):
        raise ExportError(
            f"the model's truth in {_name(eager)}",
            got=f"on the example: {own}",
            expected="the same finite outputs in float32 and float64",
            remedy="give another example, or check the model's weights",
        )
    found, left_out = [own], list[str]()
    for case in draw(source, 0):
        entry = _drawn_truth(eager, source, case, draw)
        on_case()
        if isinstance(entry, str):
            left_out.append(f"{case.name}: {entry}")
        else:
            found.append(entry)
    return ModelTruth(entries=tuple(found), left_out=tuple(left_out))


def read_model_golden(path: Path, contract: Contract) -> ModelTruth:
    """The cases of a golden file.

    Raises:
        GoldenError: missing, damaged, or made from other weights than the contract's.
    """
    data, arrays = golden_arrays(path, contract.source.weights_sha256, "export the model again")
    left_out = arrays.pop(_LEFT_OUT, None)
    if left_out is None or left_out.shape != () or left_out.dtype.kind != "U":
        raise damaged_golden(path, "no list of the sizes left out")
    entries = cases_from_arrays(arrays, path, lambda roles: _fits(roles, contract))
    check_whole(path, data, contract.golden_sha256)
    return ModelTruth(entries=tuple(entries), left_out=tuple(str(left_out).splitlines()))


def _drawn_truth(eager: EagerModel | MeasuredModel, source: CaseSource, case: Case, draw: Draw) -> CaseTruth | str:
    """The truth of a case, with sorted lengths or drawn anew where it has none as it is; else why it has none."""
    contract, reason, entry = source.contract, "", ""
    for seed in range(_SEEDS):
        drawn = next(other for other in draw(source, seed) if other.name == case.name)
        for own in (drawn, with_sorted_lengths(drawn, contract)) if contract.lengths else (drawn,):
            found = _truth(eager, contract, own)
            if isinstance(found, CaseTruth):
                return found
            reason, entry = reason or found, found
        if _UNSTEADY not in entry:
            break
    return reason


_UNSTEADY = "float32 and float64 give other integers"


def _truth(eager: EagerModel | MeasuredModel, contract: Contract, case: Case) -> CaseTruth | str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            truth, single = _measured(eager, case.feeds)
    except Exception as error:  # the model's own, which may raise anything at sizes that it does not take
        return " ".join(f"{_name(eager)} raises {type(error).__name__}: {error}".split())[:200]
    errors: dict[str, float] = {}
    for spec in contract.outputs:
        problem = _problem(truth[spec.name], single[spec.name], _name(eager))
        if problem:
            return f"output {spec.name}: {problem}"
        errors[spec.name] = largest_apart(single[spec.name], truth[spec.name])
    names = [spec.name for spec in contract.outputs]
    return CaseTruth(case=case, truth={name: _wide(truth[name]) for name in names}, float32_error=errors)


def _measured(eager: EagerModel | MeasuredModel, feeds: Mapping[str, Array]) -> tuple[Mapping[str, Array], ...]:
    """The truth, and what float32 makes of it."""
    if isinstance(eager, MeasuredModel):
        return eager.measured(feeds)
    import torch

    return tuple(eager.outputs(feeds, dtype) for dtype in (torch.float64, torch.float32))


def _name(eager: EagerModel | MeasuredModel) -> str:
    return eager.name if isinstance(eager, MeasuredModel) else "PyTorch"


def _problem(truth: Array, single: Array, name: str) -> str:
    if truth.size == 0:
        return f"{name} gives an empty tensor"
    if truth.shape != single.shape:
        return f"float32 and float64 give other shapes, {single.shape} and {truth.shape}"
    if truth.dtype.kind != "f":
        return "" if np.array_equal(truth, single) else _UNSTEADY
    if np.isnan(truth).any() or not np.isfinite(comparable(single, truth)).all():
        return f"{name} gives NaN, or Inf in float32 alone"
    return ""


def _wide(value: Array) -> Array:
    return value.astype(np.float64) if value.dtype.kind == "f" else value


def _fits(roles: Mapping[str, Mapping[str, Array]], contract: Contract) -> bool:
    """Whether a case's arrays have the contract's names, dtypes and dims; an expression is any size."""
    sides = {"in": contract.inputs, "out": contract.outputs, "float32_error": contract.outputs}
    if roles.keys() != sides.keys() or any(
        roles[role].keys() != {spec.name for spec in specs} for role, specs in sides.items()
    ):
        return False
    values = [roles["in"][spec.name] for spec in contract.inputs]
    if any(value.ndim != len(spec.dims) for value, spec in zip(values, contract.inputs, strict=True)):
        return False
    sizes = sizes_from_feeds(contract.inputs, roles["in"])
    return (
        all(_is_of(roles["in"][spec.name], spec, np.dtype(spec.dtype), sizes) for spec in contract.inputs)
        and all(_is_of(roles["out"][spec.name], spec, _truth_dtype(spec), None) for spec in contract.outputs)
        and all(value.shape == () and value.dtype == np.float64 for value in roles["float32_error"].values())
    )


def _is_of(value: Array, spec: TensorSpec, dtype: np.dtype[Any], sizes: Mapping[str, int] | None) -> bool:
    return (
        value.dtype == dtype
        and value.size > 0
        and value.ndim == len(spec.dims)
        and all(
            size == dim if isinstance(dim, int) else sizes is None or size_of(dim, sizes) == size
            for size, dim in zip(value.shape, spec.dims, strict=True)
        )
    )


def _truth_dtype(spec: TensorSpec) -> np.dtype[Any]:
    own = np.dtype(spec.dtype)
    return np.dtype(np.float64) if own.kind == "f" else own
