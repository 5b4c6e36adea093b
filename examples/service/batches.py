"""Whole sequences in one request, and their outputs in the answer: JSON, or float32 as it is."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime import InputError, Session
from service.answers import json_pieces, octet_pieces
from service.bounds import Bounds
from service.payloads import Array, frames_from_bytes
from service.sequence_text import sequences_from_json

_LENGTHS = re.compile(r"[0-9]{1,9}(,[0-9]{1,9})*")


@dataclass(frozen=True, kw_only=True)
class Results:
    """The outputs of a batch `(ΣT, D·P)`, one sequence after the other, and the last states `(L·D, B, ·)` by name."""

    lengths: list[int]
    outputs: NDArray[Any]
    states: dict[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def octets(self) -> int:
        """The size of the answer as float32."""
        return 4 * (self.outputs.size + sum(state.size for state in self.states.values()))

    def as_octets(self) -> Iterator[bytes]:
        """All outputs, then `hn (L·D, B, P)` and for LSTM `cn (L·D, B, H)`, in pieces."""
        return octet_pieces([self.outputs, *self.states.values()])

    def as_json(self) -> Iterator[bytes]:
        """Per sequence its outputs and its last state, of all layers and directions, in pieces.

        Raises:
            InputError: NaN or infinity, for which JSON has no words.
        """
        if not all(np.isfinite(values).all() for values in (self.outputs, *self.states.values())):
            remedy = "ask for application/octet-stream"
            raise InputError("the outputs", got="NaN or infinity", expected="finite numbers for JSON", remedy=remedy)
        by_sequence = {name: state.swapaxes(0, 1) for name, state in self.states.items()}
        return json_pieces(self.outputs, self.lengths, by_sequence)


def batch_from_json(body: bytes, bounds: Bounds, *, as_json: bool) -> list[Array]:
    """The sequences in `{"sequences": [[[...I numbers], ...T], ...B]}`.

    Raises:
        InputError: another shape, no sequence, or an empty one; a batch beyond its bounds.
    """
    sequences = sequences_from_json(body, bounds.contract.input_size, bounds.check_padded)
    bounds.check([len(sequence) for sequence in sequences], as_json=as_json)
    return sequences


def batch_from_bytes(body: bytes, lengths: str, bounds: Bounds, *, as_json: bool) -> list[Array]:
    """The sequences in the frames of all, one after the other, `lengths` such as `12,7,3`.

    Raises:
        InputError: lengths that are none, or do not add up to the body; a batch beyond its bounds.
    """
    frames = frames_from_bytes(body, bounds.contract.input_size, "the body")
    sizes = [int(size) for size in lengths.split(",")] if _LENGTHS.fullmatch(lengths) else []
    if not sizes or min(sizes) < 1 or sum(sizes) != len(frames):
        raise _refusal("?lengths=", repr(lengths[:100]), f"whole numbers ≥ 1 that add up to {len(frames)} frames")
    bounds.check(sizes, as_json=as_json)
    if not np.isfinite(frames).all():
        raise _refusal("the body", "NaN or infinity in it", "finite numbers")
    return np.split(frames, np.cumsum(sizes)[:-1])


def run_batch(session: Session, sequences: list[Array]) -> Results:
    """Run sequences padded to equal lengths.

    Raises:
        BackendError: the backend failed.
    """
    lengths = [len(sequence) for sequence in sequences]
    x = np.zeros((max(lengths), len(lengths), session.spec.input_size), np.float32)
    for row, sequence in enumerate(sequences):
        x[: len(sequence), row] = sequence
    output, state = session.run(x, lengths=np.array(lengths, np.int32))
    outputs = np.concatenate([output[:length, row] for row, length in enumerate(lengths)])
    states = {"h": state.h} if state.c is None else {"h": state.h, "c": state.c}
    return Results(lengths=lengths, outputs=outputs, states=states)


def _refusal(subject: str, got: str, expected: str) -> InputError:
    return InputError(subject, got=got, expected=expected, remedy="see examples/service/README.md")
