"""Whole sequences in one request, and their outputs in the answer: JSON, or float32 as it is."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnx_runtime import InputError, Session, State
from service.payloads import Array, bytes_from_floats, floats_from_json, frames_from_bytes, json_from_text


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Sequences `(T, I)` of different lengths, and how their outputs are wanted."""

    sequences: list[Array]
    is_json: bool

    @property
    def lengths(self) -> list[int]:
        """Each sequence's number of frames."""
        return [len(sequence) for sequence in self.sequences]


def batch_from_json(body: bytes, width: int) -> Batch:
    """The batch in `{"sequences": [[[...I numbers], ...T], ...B]}`.

    Raises:
        InputError: another shape, no sequence, or an empty one.
    """
    values = json_from_text(body).get("sequences")
    if not isinstance(values, list) or not values:
        raise _refusal("'sequences'", type(values).__name__, "a list of sequences")
    sequences = [floats_from_json(value, f"sequence {index}") for index, value in enumerate(values)]
    for index, sequence in enumerate(sequences):
        if sequence.ndim != 2 or sequence.shape[1] != width or not len(sequence):
            raise _refusal(f"sequence {index}", str(sequence.shape), f"(T, {width})")
    return Batch(sequences=sequences, is_json=True)


def batch_from_bytes(body: bytes, lengths: str, width: int) -> Batch:
    """The batch in the frames of all sequences one after the other, `lengths` such as `12,7,3`.

    Raises:
        InputError: lengths that are none, or do not add up to the body.
    """
    frames = frames_from_bytes(body, width, "the body")
    if not np.isfinite(frames).all():
        raise _refusal("the body", "NaN or infinity in it", "finite numbers")
    try:
        sizes = [int(size) for size in lengths.split(",")]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1 or sum(sizes) != len(frames):
        raise _refusal("?lengths=", repr(lengths[:100]), f"whole numbers ≥ 1 that add up to {len(frames)} frames")
    return Batch(sequences=np.split(frames, np.cumsum(sizes)[:-1]), is_json=False)


def run_batch(session: Session, batch: Batch, max_padded_frames: int) -> bytes | dict[str, Any]:
    """Run a batch; gives JSON data, or bytes: all outputs `(ΣT, D·P)`, `hn (L·D, B, P)` and for LSTM `cn (L·D, B, H)`.

    Raises:
        InputError: padded to equal lengths it has more frames than may be.
        BackendError: the backend failed.
    """
    lengths = np.array(batch.lengths, np.int32)
    time, count = int(lengths.max()), len(lengths)
    if time * count > max_padded_frames:
        got = f"{count} sequences of up to {time} frames"
        raise _refusal("the batch", got, f"at most {max_padded_frames} frames when padded to equal lengths")
    x = np.zeros((time, count, session.spec.input_size), np.float32)
    for row, sequence in enumerate(batch.sequences):
        x[: len(sequence), row] = sequence
    output, state = session.run(x, lengths=lengths)
    outputs = [output[:length, row] for row, length in enumerate(batch.lengths)]
    return _json_from_results(outputs, state) if batch.is_json else _bytes_from_results(outputs, state)


def _json_from_results(outputs: list[Any], state: State) -> dict[str, Any]:
    """Per sequence its outputs and its last state, of all layers and directions."""
    data = {"outputs": [output.tolist() for output in outputs], "h": state.h.swapaxes(0, 1).tolist()}
    return data if state.c is None else data | {"c": state.c.swapaxes(0, 1).tolist()}


def _bytes_from_results(outputs: list[Any], state: State) -> bytes:
    parts = [*outputs, state.h] + ([] if state.c is None else [state.c])
    return b"".join(bytes_from_floats(part) for part in parts)


def _refusal(subject: str, got: str, expected: str) -> InputError:
    return InputError(subject, got=got, expected=expected, remedy="see examples/service/README.md")
