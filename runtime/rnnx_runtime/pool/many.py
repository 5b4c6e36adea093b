"""A frame of each of many streams, pushed in one call."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnx_runtime.array_type import Array
from rnnx_runtime.arrays.array_views import array_from_view
from rnnx_runtime.arrays.frame_layout import FrameLayout
from rnnx_runtime.arrays.table_lookups import check_lookups
from rnnx_runtime.contract import Contract, TensorSpec
from rnnx_runtime.errors import InputError, RnnxError


@dataclass(frozen=True, kw_only=True)
class ManyOutputs:
    """What `push_many` gave: true where no row was refused."""

    ran: Array
    """The rows that ran, int64 `(N,)` in rising order."""
    values: Any
    """Their outputs, `(N, P)` in that order; a mapping where the frames were, or the model has several outputs.

    Of a model that gives its results late, or several a step, a tuple of each row's, `(k, P)`.
    """
    errors: Mapping[int, RnnxError]
    """Why each of the other rows was refused; its stream is as it was."""

    def __bool__(self) -> bool:
        return not self.errors

    @property
    def outputs(self) -> Any:
        """The outputs of all rows in order; raises the first row's error where one was refused."""
        if self.errors:
            raise self.errors[min(self.errors)]
        return self.values


class GivenRows:
    """Frames of many streams, a row each, checked row by row; `errors` has the rows that are refused.

    Raises:
        InputError: names, dtypes or shapes that are wrong for all rows.
    """

    def __init__(self, x: Any, rows: int, layout: FrameLayout, spec: Contract, *, rejects_nan: bool) -> None:
        self.errors: dict[int, RnnxError] = {}
        self.is_by_name = isinstance(x, Mapping) or layout.lone_output is None
        given = x if isinstance(x, Mapping) else {next(iter(layout.inputs)): x}
        if given.keys() != layout.inputs.keys():
            layout.checked(x)  # raises, for the names are others
        self.values = {name: self._rows_of(name, given[name], rows, layout) for name in layout.inputs}
        for name, value in self.values.items():
            if rejects_nan and value.dtype.kind == "f":
                self._refuse_not_finite(name, value)
            if name in spec.table_sizes:
                self._refuse_lookups(name, value, spec.table_sizes[name])

    def picked(self, rows: Sequence[int]) -> dict[str, Array]:
        """The frames of some rows."""
        if len(rows) == len(next(iter(self.values.values()))):
            return self.values
        index = np.array(rows, np.intp)
        return {name: value[index] for name, value in self.values.items()}

    def _rows_of(self, name: str, given: Any, rows: int, layout: FrameLayout) -> Array:
        own = layout.inputs[name]
        shown = f"({', '.join(map(str, (rows, *own.step_dims)))})"
        value = given
        if type(given) is not np.ndarray:
            value = array_from_view(given, f"input {name!r}", f"{own.spec.dtype} {shown}")
        fits = value.ndim == 1 + len(own.step_dims) and len(value) == rows and _fit(value.shape[1:], own.step_dims)
        if value.dtype != own.spec.dtype or not fits:
            each = "a frame" if own.unit == 1 else f"{own.unit} frames"
            raise InputError(
                f"input {name!r}",
                got=f"{value.dtype} {value.shape}",
                expected=f"{own.spec.dtype} {shown}, {each} for each stream",
                remedy="give a row for each stream, in the order of the streams",
            )
        found: Array = value
        return found

    def _refuse_not_finite(self, name: str, value: Array) -> None:
        finite = np.isfinite(value)
        if np.count_nonzero(finite) == value.size:
            return
        for row in np.flatnonzero(~finite.reshape(len(value), -1).all(axis=1)).tolist():
            self.errors.setdefault(row, not_finite(name))

    def _refuse_lookups(self, name: str, value: Array, size: int) -> None:
        try:
            check_lookups(name, value, size)
        except InputError:
            for row, own in enumerate(value):
                try:
                    check_lookups(name, np.asarray(own), size)
                except InputError as error:
                    self.errors.setdefault(row, error)


def not_finite(name: str) -> InputError:
    """The error of an input that a pool rejects."""
    return InputError(
        f"input {name!r}",
        got="NaN or infinity in it",
        expected="finite numbers",
        remedy="mend the source, or make the pool with nan='propagate'",
    )


def stacked(outputs: Iterable[Any], *, by_name: bool, specs: Sequence[TensorSpec], is_plain: bool) -> Any:
    """Outputs of single pushes as rows; of none of them arrays of no rows. They may differ in length unless plain."""
    each = list(outputs)
    if not is_plain:
        return {spec.name: tuple(own[spec.name] for own in each) for spec in specs} if by_name else tuple(each)
    if not each:
        empty = {spec.name: np.empty((0,), spec.dtype) for spec in specs}
        return empty if by_name else next(iter(empty.values()))
    return {name: np.stack([own[name] for own in each]) for name in each[0]} if by_name else np.stack(each)


def _fit(shape: Sequence[int], dims: Sequence[int | str]) -> bool:
    return all(size == dim if isinstance(dim, int) else size > 0 for size, dim in zip(shape, dims, strict=True))
