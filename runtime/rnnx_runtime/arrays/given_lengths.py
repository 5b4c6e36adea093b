"""Sequence lengths as a caller gives them, of any integer type, and as a backend takes them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rnnx_runtime.array_type import Array
from rnnx_runtime.arrays.argument_errors import unexpected, unfit_names
from rnnx_runtime.arrays.array_views import array_from_view
from rnnx_runtime.arrays.dim_sizes import known_shape
from rnnx_runtime.contract import Contract, TensorSpec
from rnnx_runtime.dim_expressions import size_of, symbols_of
from rnnx_runtime.errors import InputError


class GivenLengths:
    """Makes a contract's lengths of what is given for them; T where they are left out."""

    def __init__(self, contract: Contract) -> None:
        self._names = contract.lengths
        self.specs = tuple(spec for name in contract.lengths for spec in contract.inputs if spec.name == name)
        rows = {dim for spec in self.specs for dim in spec.dims}
        dims = (dim for spec in contract.inputs for dim in spec.dims if isinstance(dim, str))
        self._times = tuple(dim for dim in dict.fromkeys(dims) if not rows.intersection(symbols_of(dim)))

    def longest(self, sizes: Mapping[str, int]) -> int | None:
        """The most that a length can be: the longest of the dims that are not the batch; None where all are fixed."""
        return max((size for dim in self._times if (size := size_of(dim, sizes)) is not None), default=None)

    def feed(self, feeds: dict[str, Any], lengths: Any, sizes: Mapping[str, int], longest: int | None) -> None:
        """Put the lengths into feeds by name; raises InputError as `Session.run` says."""
        if not self.specs:
            raise unexpected("lengths", "a model without lengths", "export it with lengths=True (--lengths)")
        if len(self.specs) > 1 and lengths is not None and not isinstance(lengths, Mapping):
            raise InputError(
                "lengths",
                got=f"one {type(lengths).__name__}",
                expected=f"a mapping of {', '.join(spec.name for spec in self.specs)}",
                remedy="name each of them",
            )
        given = lengths if isinstance(lengths, Mapping) else {} if lengths is None else {self.specs[0].name: lengths}
        unknown = [name for name in given if name not in self._names]
        if unknown:
            raise unfit_names("lengths", repr(unknown[0]), self.specs, "leave it out")
        for spec in self.specs:
            value = given.get(spec.name)
            feeds[spec.name] = self._full(spec, sizes) if value is None else _own(spec, value, sizes, longest)

    def _full(self, spec: TensorSpec, sizes: Mapping[str, int]) -> Array:
        shape = known_shape(spec, sizes)
        times = {sizes[dim] for dim in self._times if dim in sizes}
        whole = {sizes["T"]} if "T" in sizes and len(self.specs) == 1 else times
        time = whole.pop() if len(whole) == 1 else None
        if shape is None or time is None:
            raise InputError(
                f"lengths {spec.name!r}",
                got="none",
                expected=f"whole numbers {spec.shape}",
                remedy="give them: no dim of the inputs says alone how long a sequence is",
            )
        return np.full(shape, time, spec.dtype)


def _own(spec: TensorSpec, value: Any, sizes: Mapping[str, int], longest: int | None) -> Array:
    shape = known_shape(spec, sizes)
    most = "" if longest is None else f" to {longest}"
    expected = f"whole numbers {shape or spec.shape} from 1{most}"
    subject = spec.name if spec.name == "lengths" else f"lengths {spec.name!r}"
    try:
        values = np.array(value) if isinstance(value, list) else array_from_view(value, subject, expected)
    except ValueError:  # a ragged list
        values = np.array(value, object)
    if values.dtype.kind not in "iu" or values.ndim != 1 or (shape is not None and values.shape != shape):
        got = f"{values.dtype} {values.shape}"
    elif values.min() < 1 or (longest is not None and values.max() > longest):
        got = f"values from {values.min()} to {values.max()}"
    else:
        return values.astype(spec.dtype, order="C")
    raise InputError(
        subject,
        got=got,
        expected=expected,
        remedy="give one length per row; PyTorch's packed sequences refuse a zero length too",
    )
