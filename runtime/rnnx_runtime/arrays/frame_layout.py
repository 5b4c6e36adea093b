"""Frames and chunks of one stream: what a model takes of them, and where they lie in its inputs and outputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnx_runtime.array_type import Array
from rnnx_runtime.arrays.array_views import array_from_view
from rnnx_runtime.arrays.time_axis import frames_per_step, step_axis, time_of
from rnnx_runtime.contract import Contract, Dim, TensorSpec
from rnnx_runtime.errors import InputError

Index = tuple[int | slice | None, ...]

_ALL = slice(None)


@dataclass(frozen=True)
class Frames:
    """One input or output of a stream: without the axis of batch, and of a frame without that of time.

    `unit` is how many frames a step of time has: 4 of `(B, 4*T, F)`, of which chunks of a multiple of 4 are taken.
    `batch` is None of a model whose batch is fixed: its rows together are the stream. The indices give an input its
    missing axes, and take an output's away. `time` is the axis of time of the whole tensor, None of one that has none;
    `is_sequence` says whether it may hold many frames.
    """

    spec: TensorSpec
    batch: int | None
    time: int | None
    is_sequence: bool
    unit: int = 1

    @property
    def frame_dims(self) -> tuple[Dim, ...]:
        """The dims of a frame; of several in a step of time, those of a chunk."""
        return self.chunk_dims if self.unit > 1 else self.row_dims

    @property
    def chunk_dims(self) -> tuple[Dim, ...]:
        """The dims of a chunk: of a tensor that holds one frame at a time, frames behind each other."""
        if not self.is_sequence:
            return ("T", *self.frame_dims)
        return tuple(dim for axis, dim in enumerate(self.spec.dims) if axis != self.batch)

    @property
    def step_dims(self) -> tuple[Dim, ...]:
        """The dims of the least that a push may hold: a frame, or the frames of one step of time."""
        if self.unit == 1:
            return self.frame_dims
        return tuple(self.unit if axis == self.chunk_axis else dim for axis, dim in enumerate(self.chunk_dims))

    @property
    def row_dims(self) -> tuple[Dim, ...]:
        """The dims of a frame, whatever number of them a step of time has."""
        return tuple(dim for axis, dim in enumerate(self.spec.dims) if axis not in (self.batch, self.time))

    @property
    def chunk_axis(self) -> int:
        """The axis of time of a chunk."""
        if not self.is_sequence or self.time is None:
            return 0
        return self.time - (self.batch is not None and self.batch < self.time)

    def indexed(self, at: int | None, *, chunk: bool) -> Index:
        """`at` stands for the axis of batch, and for that of time too but in a chunk; all else is kept."""
        axes = (self.batch,) if chunk or self.unit > 1 else (self.batch, self.time)
        return tuple(at if axis in axes else _ALL for axis in range(len(self.spec.dims)))

    def row_indexed(self, at: int | None) -> Index:
        """`at` stands for the axis of batch of a step, which has no axis of time."""
        axes = [axis for axis in range(len(self.spec.dims)) if axis != self.time]
        return tuple(at if axis == self.batch else _ALL for axis in axes)


class FrameLayout:
    """What a model's frames and chunks are: of one input a frame such as `(I,)` and a chunk such as `(T, I)`.

    Raises:
        InputError: an input or output has no axis of batch, and others have one.
    """

    def __init__(self, contract: Contract) -> None:
        bare = contract.bare
        self.steps = bare.steps if bare and bare.form == "unrolled" else None
        """How many frames every chunk has, of an unrolled decoder; None for any other model."""
        self._time = time_of(contract)
        self._has_batch = "B" in contract.free_dims
        self.has_time = self._time is not None or self.steps not in (None, 1)
        """Whether one run takes a whole chunk."""
        self.inputs = {spec.name: self._frames(spec) for spec in contract.plain_inputs}
        self.outputs = {spec.name: self._frames(spec) for spec in contract.plain_outputs}
        self.lone = next(iter(self.inputs.values())) if len(self.inputs) == 1 else None
        """The one input; None where there are several."""
        self.lone_output = next(iter(self.outputs.values())) if len(self.outputs) == 1 else None
        """The one output; None where there are several."""

    def checked(self, x: Any, *, is_last: bool = False) -> tuple[dict[str, Array], bool]:
        """The inputs by name that x is or shows, and whether they are a chunk; the last one may have any length.

        Raises:
            InputError: a name that is missing or unknown, or a value that shows no array or one of another dtype or
                shape; or a frame of one input beside a chunk of another.
        """
        given = x if isinstance(x, Mapping) else {self.lone.spec.name: x} if self.lone else None
        if given is None or given.keys() != self.inputs.keys():
            raise self._other_names(x)
        values = {name: self._viewed(frames, given[name], is_last) for name, frames in self.inputs.items()}
        kinds = {
            name: values[name].ndim > len(frames.frame_dims) or frames.unit > 1
            for name, frames in self.inputs.items()
            if frames.is_sequence or not self.has_time
        }
        if len(set(kinds.values())) > 1:
            chunk = next(name for name, kind in kinds.items() if kind)
            frame = next(name for name, kind in kinds.items() if not kind)
            raise InputError(
                "inputs",
                got=f"a chunk of {chunk!r} and a frame of {frame!r}",
                expected="frames, or chunks of one length",
                remedy="give all inputs the axis of time, or none",
            )
        counts = {name: int(values[name].shape[self.inputs[name].chunk_axis]) for name, kind in kinds.items() if kind}
        if len(set(counts.values())) > 1:
            raise InputError(
                "inputs",
                got=f"chunks of {', '.join(f'{count} ({name})' for name, count in counts.items())} frames",
                expected="chunks of one length",
                remedy="give all inputs the same number of frames",
            )
        return values, any(kinds.values())

    def count(self, values: Mapping[str, Array]) -> int:
        """The frames of a checked chunk."""
        name, frames = next((name, own) for name, own in self.inputs.items() if own.is_sequence or not self.has_time)
        return int(values[name].shape[frames.chunk_axis]) // frames.unit

    def last_frames(self, x: Any) -> dict[str, Array]:
        """The inputs by name of a sequence's last chunk, which may be of any length.

        Raises:
            InputError: as `checked`.
        """
        return self.as_chunk(*self.checked(x, is_last=True))

    def as_chunk(self, values: dict[str, Array], is_chunk: bool) -> dict[str, Array]:
        """Checked inputs as a chunk: a frame is one of one frame."""
        if is_chunk:
            return values
        return {
            name: np.expand_dims(value, own.chunk_axis) if own.is_sequence or not self.has_time else value
            for (name, own), value in zip(self.inputs.items(), values.values(), strict=True)
        }

    def frames_of(self, values: Mapping[str, Array]) -> int:
        """The frames of a chunk of any length."""
        return next(int(values[name].shape[own.chunk_axis]) for name, own in self.inputs.items() if own.is_sequence)

    def filled_up(self, values: Mapping[str, Array] | None, steps: int) -> dict[str, Array]:
        """A chunk of so many steps: the frames given, and zeros behind them.

        Raises:
            InputError: nothing is given, and an input has no axis of time.
        """
        found = {}
        for name, own in self.inputs.items():
            if not own.is_sequence:
                found[name] = self._without_time(name, values)
                continue
            shape = [own.unit * steps if axis == own.chunk_axis else int(dim) for axis, dim in enumerate(_open(own))]
            filled = np.zeros(shape, own.spec.dtype)
            if values is not None:
                filled[(slice(None),) * own.chunk_axis + (slice(0, values[name].shape[own.chunk_axis]),)] = values[name]
            found[name] = filled
        return found

    def _without_time(self, name: str, values: Mapping[str, Array] | None) -> Array:
        if values is not None:
            return values[name]
        raise InputError(
            "flush",
            got=f"no {name!r}, which has no axis of time",
            expected=f"frames of {self._listed()}",
            remedy="give flush() a mapping of all inputs; those with an axis of time may have no frames",
        )

    def nothing(self) -> dict[str, Array]:
        """Outputs without a frame."""
        return {name: np.zeros(_none_of(own), own.spec.dtype) for name, own in self.outputs.items()}

    def check_out(self, out: Any, shape: tuple[int, ...], dtype: str) -> None:
        """Check a buffer for an output.

        Raises:
            InputError: not a writeable array of just that dtype and shape.
        """
        if not isinstance(out, np.ndarray):
            got = type(out).__name__
        elif out.dtype == dtype and out.shape == shape and out.flags.writeable:
            return
        else:
            got = f"{out.dtype} {out.shape}{'' if out.flags.writeable else ', read-only'}"
        remedy = "leave it out for a new array"
        raise InputError("out", got=got, expected=f"{dtype} {shape}, writeable", remedy=remedy)

    def _frames(self, spec: TensorSpec) -> Frames:
        if self._has_batch and "B" not in spec.dims:
            raise InputError(
                f"stream of {spec.name!r}",
                got=f"a tensor {spec.shape} without an axis of batch",
                expected="a row for each stream",
                remedy="run whole batches with Session.run",
            )
        time = 0 if self.steps is not None else step_axis(spec, self._time)
        unit = 1 if self.steps is not None else frames_per_step(spec, self._time) or 1
        batch = spec.dims.index("B") if self._has_batch else None
        return Frames(spec, batch, time, time is not None and self.steps != 1, unit)

    def _viewed(self, frames: Frames, value: Any, is_last: bool) -> Array:
        spec = frames.spec
        is_number = isinstance(value, int | np.integer) and type(value) is not bool
        if is_number and np.can_cast(np.min_scalar_type(value), spec.dtype):
            value = np.asarray(value, spec.dtype)  # a token
        expected = f"{spec.dtype}, {self._expected(frames)}"
        array = array_from_view(value, f"input {spec.name!r}", expected)
        chunk = frames.chunk_dims if frames.is_sequence or not self.has_time else None
        is_frame = _fits(array, frames.frame_dims) and self.steps in (None, 1)
        is_chunk = chunk is not None and _fits(array, chunk, frames.chunk_axis if is_last else None)
        if array.dtype == spec.dtype and (is_frame or is_chunk):
            if not is_last:
                _refuse_part(frames, array)
            return array
        if array.dtype != spec.dtype:
            remedy = f"cast it with .astype('{spec.dtype}')"
        elif array.ndim == len(frames.chunk_dims) + 1 and self._has_batch:
            remedy = "a stream is one row: leave out the batch axis"
        else:
            remedy = "push what the model takes (session.spec)"
        got = f"{array.dtype} {array.shape}"
        raise InputError(f"input {spec.name!r}", got=got, expected=expected, remedy=remedy)

    def _expected(self, frames: Frames) -> str:
        frame, chunk = _shown(frames.frame_dims), _shown(frames.chunk_dims)
        if not frames.is_sequence and self.has_time:
            return f"{frame} at each push"
        return f"a {'' if self.steps not in (None, 1) or frame == chunk else f'frame {frame} or '}chunk {chunk}"

    def _other_names(self, x: Any) -> InputError:
        if not isinstance(x, Mapping):
            got, remedy = f"one {type(x).__name__}", "give a mapping of names to frames"
        else:
            wrong = [name for name in self.inputs if name not in x] or [name for name in x if name not in self.inputs]
            got = f"no {wrong[0]!r}" if wrong[0] in self.inputs else repr(wrong[0])
            remedy = "give each of them" if wrong[0] in self.inputs else "leave it out"
        return InputError("inputs", got=got, expected=f"frames of {self._listed()}", remedy=remedy)

    def _listed(self) -> str:
        return ", ".join(f"{name} {_shown(own.frame_dims)}" for name, own in self.inputs.items())


def _none_of(own: Frames) -> list[int]:
    """The shape of a chunk without a frame; no size that only a call tells."""
    dims = enumerate(own.chunk_dims)
    return [dim if isinstance(dim, int) and axis != own.chunk_axis else 0 for axis, dim in dims]


def _open(own: Frames) -> tuple[Dim, ...]:
    """The dims of a chunk, its axis of time as 1."""
    return tuple(1 if axis == own.chunk_axis else dim for axis, dim in enumerate(own.chunk_dims))


def _refuse_part(frames: Frames, array: Array) -> None:
    """Refuse a chunk that is no multiple of the frames that a step of time has; raises InputError."""
    count = array.shape[frames.chunk_axis] if frames.unit > 1 else 0
    if count % frames.unit:
        raise InputError(
            f"input {frames.spec.name!r}",
            got=f"a chunk of {count} frames",
            expected=f"a multiple of {frames.unit}: {_shown(frames.chunk_dims)}",
            remedy="push whole multiples, and give what is left at the sequence's end to flush()",
        )


def _fits(array: Array, dims: tuple[Dim, ...], may_be_empty: int | None = None) -> bool:
    """Whether an array has these dims; one axis may have no elements."""
    return array.ndim == len(dims) and all(
        size == dim if isinstance(dim, int) else size > 0 or axis == may_be_empty
        for axis, (size, dim) in enumerate(zip(array.shape, dims, strict=True))
    )


def _shown(dims: tuple[Dim, ...]) -> str:
    return f"({', '.join(map(str, dims))}{',' if len(dims) == 1 else ''})"
