"""Answers that are sent in pieces, so that no whole text is in memory and no single call holds the interpreter long."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from service.payloads import bytes_from_floats

Floats = NDArray[Any]

PIECE_BYTES = 1 << 16
_BLOCK_NUMBERS = 2048
"""What one call writes as JSON: about two milliseconds."""

_LOG = logging.getLogger("uvicorn.error")


class PiecewiseAnswer(StreamingResponse):
    """Sends pieces that a thread makes, one at a time among all answers; cuts off a peer that takes too long to read.

    `on_end` is called once, when all is sent or the peer is gone.
    """

    def __init__(
        self,
        pieces: Iterator[bytes],
        turn: asyncio.Semaphore,
        *,
        media_type: str,
        size: int | None,
        timeout_s: float,
        on_end: Callable[[], None],
    ) -> None:
        headers = None if size is None else {"Content-Length": str(size)}
        super().__init__(_in_turn(pieces, turn), headers=headers, media_type=media_type)
        self._timeout_s = timeout_s
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await super().__call__(scope, receive, send)
        except TimeoutError:
            _LOG.warning("an answer of /run was not read within %g s", self._timeout_s)
        finally:
            self._on_end()


async def _in_turn(pieces: Iterator[bytes], turn: asyncio.Semaphore) -> AsyncIterator[bytes]:
    while True:
        async with turn:
            piece = await asyncio.to_thread(next, pieces, b"")
        if not piece:
            return
        yield piece


def json_pieces(outputs: Floats, lengths: Sequence[int], states: dict[str, Floats]) -> Iterator[bytes]:
    """`{"outputs": [...], "h": [...], "c": [...]}` of outputs `(ΣT, D·P)` and states `(B, L·D, ·)`."""
    return _gathered(_json_texts(outputs, lengths, states))


def octet_pieces(parts: Iterable[Floats]) -> Iterator[bytes]:
    """The numbers of arrays as little-endian float32, one array after the other."""
    for part in parts:
        flat = part.reshape(-1)
        for start in range(0, len(flat), PIECE_BYTES // 4):
            yield bytes_from_floats(flat[start : start + PIECE_BYTES // 4])


def _json_texts(outputs: Floats, lengths: Sequence[int], states: dict[str, Floats]) -> Iterator[str]:
    yield '{"outputs":['
    ends = np.cumsum(lengths)
    for index, (length, end) in enumerate(zip(lengths, ends, strict=True)):
        yield "," * (index > 0)
        yield from _list_texts(outputs[end - length : end])
    yield "]"
    for name, state in states.items():
        yield f',"{name}":'
        yield from _list_texts(state)
    yield "}"


def _list_texts(array: Floats) -> Iterator[str]:
    """An array's JSON, a few rows at a time; a row that is long by itself is one piece."""
    rows = max(1, _BLOCK_NUMBERS // max(1, array[0].size))
    for start in range(0, len(array), rows):
        text = json.dumps(array[start : start + rows].tolist(), separators=(",", ":"))
        yield ("," if start else "[") + text[1:-1]
    yield "]"


def _gathered(texts: Iterator[str]) -> Iterator[bytes]:
    """Short texts joined to pieces worth sending."""
    waiting = bytearray()
    for text in texts:
        waiting += text.encode()
        if len(waiting) >= PIECE_BYTES:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)
