"""Packed sequences during a trace: the padded tensor and its lengths, in PyTorch's own `PackedSequence`.

A real one holds only the valid rows, so its size depends on the lengths' values, which no graph of fixed rank can say.
Here `data` has the padding's rows too, which is the same for whatever works row by row (Linear, Dropout, activations).
https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.pack_padded_sequence.html
"""

import threading
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.fx.experimental.symbolic_shapes import statically_known_true
from torch.nn.utils import rnn
from torch.nn.utils.rnn import PackedSequence

from rnnx.errors import ExportError
from rnnx.tracing.host_values import as_tensor

CUT_NOTE = (
    "pad_packed_sequence without total_length cuts at the longest length, as in PyTorch; an engine may not take a size "
    "that values decide: give total_length=x.size(1) to keep the time of the input"
)


class PackedRows:
    """What a packed sequence of a trace carries in place of `batch_sizes`: the padded tensor it stands for.

    `padded` is `(B, T, …)` or `(T, B, …)`, `lengths (B)` int32; `zero_past_end` says that `padded` is zero there.
    """

    device = torch.device("cpu")

    def __init__(self, padded: Tensor, lengths: Tensor, *, batch_first: bool, zero_past_end: bool) -> None:
        self.padded = padded
        self.lengths = lengths
        self.batch_first = batch_first
        self.zero_past_end = zero_past_end
        self.data = padded.flatten(0, 1)

    def packed(self, like: PackedSequence | None = None) -> PackedSequence:
        """A sequence of these rows; its rows stand in the padded tensor's order, whatever the lengths are."""
        order = (None, None) if like is None else (like.sorted_indices, like.unsorted_indices)
        return PackedSequence(self.data, self, *order)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise _unreadable(f".{name}")

    def __getitem__(self, index: object) -> NoReturn:
        raise _unreadable(f"[{index}]")

    def __len__(self) -> NoReturn:
        raise _unreadable(" in len()")

    def __iter__(self) -> NoReturn:
        raise _unreadable(" in a loop")


def rows_of(sequence: PackedSequence) -> PackedRows:
    """The padded tensor behind a sequence, also where its data were replaced by other rows of the same count."""
    rows: Any = sequence.batch_sizes
    if not isinstance(rows, PackedRows):
        raise ExportError(
            "a PackedSequence made outside of forward",
            got="one with the sizes of its example in it",
            expected="lengths that are an input of the model",
            remedy="call pack_padded_sequence inside forward",
        )
    if sequence.data is rows.data:
        return rows
    padded = torch.unflatten(sequence.data, 0, rows.padded.shape[:2])
    return PackedRows(padded, rows.lengths, batch_first=rows.batch_first, zero_past_end=False)


class Packing:
    """The functions of `torch.nn.utils.rnn` for the time of a trace; `notes` says what a result depends on.

    With `cut` False a padded result keeps the time of its input, also where PyTorch cuts it at the longest length.
    """

    def __init__(self, *, cut: bool = True) -> None:
        self.notes: list[str] = []
        self.cuts = 0
        """How often a result was cut, or would have been."""
        self._cut = cut
        self._counts: list[tuple[Tensor, Tensor]] = []
        self._longest: list[tuple[Tensor, Any]] = []

    def pack_padded_sequence(
        self, padded: Tensor, lengths: Tensor | Sequence[int], batch_first: bool = False, enforce_sorted: bool = True
    ) -> PackedSequence:
        """The padded tensor and its lengths. `enforce_sorted` is a promise here, which nothing depends on."""
        batch = padded.shape[0 if batch_first else 1]
        rows = PackedRows(padded, self._as_counts(lengths, batch), batch_first=batch_first, zero_past_end=False)
        if enforce_sorted:
            return rows.packed()
        order = torch.arange(batch)
        return PackedSequence(rows.data, rows, order, order)  # type: ignore[arg-type]

    def pad_packed_sequence(
        self,
        sequence: PackedSequence,
        batch_first: bool = False,
        padding_value: float = 0.0,
        total_length: Any = None,
    ) -> tuple[Tensor, Tensor]:
        """The padded tensor with `padding_value` past each end, as long as its longest row or `total_length`."""
        rows = rows_of(sequence)
        padded = rows.padded if rows.batch_first == batch_first else rows.padded.transpose(0, 1)
        if not (rows.zero_past_end and padding_value == 0):
            padded = _filled(padded, rows.lengths, padding_value, batch_first=batch_first)
        axis = 1 if batch_first else 0
        if total_length is None:
            padded = self._cut_at_longest(padded, rows.lengths, axis)
        else:
            length: Any = total_length.item() if isinstance(total_length, Tensor) else total_length
            padded = _as_long_as(padded, length, padding_value, axis=axis)
        return padded, rows.lengths.to(torch.int64)

    def _as_counts(self, lengths: Any, batch: Any) -> Tensor:
        """The lengths of a call as `(B,)` int32; the same tensor again gives the same one."""
        counts = as_tensor(lengths)
        for given, found in self._counts:
            if given is counts:
                return found
        check_equal(counts.shape[0], batch)
        self._counts.append((counts, counts.to(torch.int32)))
        return self._counts[-1][1]

    def _cut_at_longest(self, padded: Tensor, lengths: Tensor, axis: int) -> Tensor:
        self.cuts += 1
        if not self._cut:
            return padded
        self.notes.append(CUT_NOTE)
        longest: Any = next((found for given, found in self._longest if given is lengths), None)
        if longest is None:
            longest = lengths.max().item()
            self._longest.append((lengths, longest))
        check(longest >= 1)
        check(longest <= padded.shape[axis])
        return padded.narrow(axis, 0, longest)

    def pack_sequence(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse a list of tensors of different lengths."""
        raise _from_list("pack_sequence")

    def unpack_sequence(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse to make one tensor for each row."""
        raise _from_list("unpack_sequence")

    def unpad_sequence(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse to make one tensor for each row."""
        raise _from_list("unpad_sequence")


@contextmanager
def traced_packing(*, cut: bool = True) -> Iterator[Packing]:
    """Put a `Packing` in place of PyTorch's functions inside the block, for this thread.

    Their code is exchanged, not their names: `from torch.nn.utils.rnn import pack_padded_sequence` holds the function.
    """
    packing = Packing(cut=cut)
    codes = {name: getattr(rnn, name).__code__ for name in _STAND_INS}
    originals = {name: types.FunctionType(code, vars(rnn), name, _defaults(name)) for name, code in codes.items()}
    owner = threading.get_ident()

    def chosen(name: str) -> Callable[..., Any]:
        return getattr(packing, name) if threading.get_ident() == owner else originals[name]

    vars(rnn)["_rnnx_chosen"] = chosen
    for name, stand_in in _STAND_INS.items():
        getattr(rnn, name).__code__ = stand_in.__code__
    try:
        yield packing
    finally:
        for name, code in codes.items():
            getattr(rnn, name).__code__ = code
        del vars(rnn)["_rnnx_chosen"]


# The bodies below run with the globals of torch.nn.utils.rnn, where `_rnnx_chosen` stands during a trace.


def _pack_padded_sequence(input: Any, lengths: Any, batch_first: Any = False, enforce_sorted: Any = True) -> Any:  # noqa: A002
    return _rnnx_chosen("pack_padded_sequence")(input, lengths, batch_first, enforce_sorted)  # type: ignore # noqa: F821


def _pad_packed_sequence(
    sequence: Any, batch_first: Any = False, padding_value: Any = 0.0, total_length: Any = None
) -> Any:
    return _rnnx_chosen("pad_packed_sequence")(sequence, batch_first, padding_value, total_length)  # type: ignore # noqa: F821


def _pack_sequence(sequences: Any, enforce_sorted: Any = True) -> Any:
    return _rnnx_chosen("pack_sequence")(sequences, enforce_sorted)  # type: ignore # noqa: F821


def _unpack_sequence(packed_sequences: Any) -> Any:
    return _rnnx_chosen("unpack_sequence")(packed_sequences)  # type: ignore # noqa: F821


def _unpad_sequence(padded_sequences: Any, lengths: Any, batch_first: Any = False) -> Any:
    return _rnnx_chosen("unpad_sequence")(padded_sequences, lengths, batch_first)  # type: ignore # noqa: F821


_STAND_INS: dict[str, Any] = {
    "pack_padded_sequence": _pack_padded_sequence,
    "pad_packed_sequence": _pad_packed_sequence,
    "pack_sequence": _pack_sequence,
    "unpack_sequence": _unpack_sequence,
    "unpad_sequence": _unpad_sequence,
}


def check_equal(size: Any, other: Any) -> None:
    """Tell the trace that two sizes are one."""
    check(size == other)


def check(condition: Any) -> None:
    """Tell the trace that something about sizes holds."""
    torch._check(condition)  # type: ignore[no-untyped-call]


def _defaults(name: str) -> Any:
    return getattr(rnn, name).__defaults__


def _filled(padded: Tensor, lengths: Tensor, value: float, *, batch_first: bool) -> Tensor:
    time = torch.arange(padded.shape[1 if batch_first else 0], dtype=torch.int32)
    valid = time[None, :] < lengths[:, None] if batch_first else time[:, None] < lengths[None, :]
    return torch.where(valid.reshape(*valid.shape, *[1] * (padded.dim() - 2)), padded, value)


def _as_long_as(padded: Tensor, length: int, value: float, *, axis: int) -> Tensor:
    if statically_known_true(length == padded.shape[axis]):
        return padded
    sizes = [length if place == axis else size for place, size in enumerate(padded.shape)]
    return torch.cat([padded, padded.new_full(sizes, value)], axis).narrow(axis, 0, length)


def _unreadable(use: str) -> ExportError:
    return ExportError(
        f"batch_sizes{use} of a PackedSequence",
        got="its value read in forward",
        expected="lengths, which the graph has as a tensor",
        remedy="use the lengths tensor that pack_padded_sequence was given",
    )


def _from_list(function: str) -> ExportError:
    return ExportError(
        function,
        got="a list of tensors of different lengths",
        expected="one padded tensor and a lengths tensor",
        remedy="take both as inputs of forward and call pack_padded_sequence",
    )
