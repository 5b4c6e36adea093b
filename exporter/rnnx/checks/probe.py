"""A backend as the checks see it: it runs a case, or says why what it gave is no result."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rnnx.parity.closeness import problem_of
from rnnx.runners.candidates import Candidate
from rnnx.runners.row_names import PYTORCH_ROWS
from rnnx.truths.cases import Case
from rnnx.truths.rows import has_rows, live, take_rows
from rnnx_runtime.array_type import Array
from rnnx_runtime.arrays.dim_sizes import sizes_from_feeds
from rnnx_runtime.contract import Contract, TensorSpec
from rnnx_runtime.errors import BackendError

OF_THE_MODULE = "the export has found it of the module itself, in float64"
"""Why a whole model's module is not compared with itself.

It may cut its results at a batch's longest length, want lengths that fall, or drop the axis of one row.
"""


class Uncovered(Exception):  # noqa: N818 - a limit of an engine's profiles, not a fault
    """A check needs sizes that no profile of an engine takes."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A candidate with what it claims: its contract, its precision, the outputs it gives, the sizes it covers."""

    candidate: Candidate
    contract: Contract
    precision: str
    outputs: Sequence[TensorSpec]
    covers: Callable[[Mapping[str, int]], bool] = lambda sizes: True

    @property
    def rowed(self) -> list[TensorSpec]:
        """The outputs that have a row for each row of the batch."""
        return [spec for spec in self.outputs if has_rows(spec)]

    def run(self, case: Case, rows: Sequence[int] | None = None, *, live_of: Array | None = None) -> dict[str, Array]:
        """The outputs of a case, of some rows of its batch where `rows` are given; the others may be anything.

        So may what is past the lengths `live_of`, where they are given; it is zero then.

        Raises:
            Uncovered: no profile of the engine takes the case's sizes.
            BackendError: a value is absent, NaN or Inf, or of another dtype or shape.
            RnnxError: whatever the candidate raises.
        """
        sizes = sizes_from_feeds(self.contract.inputs, case.feeds)
        if not self.covers(sizes):
            raise Uncovered(f"no profile of the engine takes {', '.join(f'{k}={v}' for k, v in sizes.items())}")
        values = self.candidate.outputs(case)
        if live_of is not None:
            named = {spec.name: spec for spec in self.outputs}
            values = {name: live(named[name], value, live_of) for name, value in values.items() if name in named}
        return self.checked(case, values, rows)

    def checked(self, case: Case, values: Mapping[str, Array], rows: Sequence[int] | None = None) -> dict[str, Array]:
        """Values that a case gave, each a result of the right shape; raises BackendError as `run`."""
        sizes = sizes_from_feeds(self.contract.inputs, case.feeds)
        kept = sizes if rows is None else {**sizes, "B": len(rows)}
        chosen = values if rows is None else take_rows(self.outputs, values, rows)
        for spec in self.outputs:
            value = chosen.get(spec.name)
            shape = _expected_shape(spec, kept, value)
            if value is not None and self.contract.bare is None:
                value = np.where(np.isinf(value), np.zeros((), value.dtype), value)  # the mask of a model's own
            problem = problem_of(value, np.empty(shape), spec)
            if problem:
                raise BackendError(
                    f"{spec.name} of {case.name}",
                    got=problem.partition(", expected ")[0].removeprefix("got "),
                    expected=f"finite {spec.dtype} {shape}",
                    remedy="look at the parity row of this backend first",
                )
        return {spec.name: chosen[spec.name] for spec in self.outputs}


def _expected_shape(spec: TensorSpec, sizes: Mapping[str, int], value: Array | None) -> tuple[int, ...]:
    """A shape under these sizes; what is an expression of them, or a size that the model finds, is as it was given."""
    given = value.shape if value is not None and value.ndim == len(spec.dims) else (1,) * len(spec.dims)
    return tuple(
        sizes.get(dim, own) if isinstance(dim, str) else dim for dim, own in zip(spec.dims, given, strict=True)
    )


def is_module(probe: Probe) -> bool:
    """Whether a row is a whole model's own module."""
    return probe.contract.bare is None and probe.candidate.name in PYTORCH_ROWS
