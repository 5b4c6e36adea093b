"""One WebSocket and the stream behind it.

A binary message is frames, little-endian float32 `(T, I)`; the answer is their outputs `(T, P)`. A text is JSON:

    {"do": "flush"}                                  also with "frames", the last lists of I numbers; ends the sequence,
                                                     and the answer is binary, the outputs that were still owed
    {"do": "reset"}                                  also with "h" and, for LSTM, "c": lists of H numbers
    {"do": "snapshot"}                               the answer has "snapshot", in Base64
    {"do": "restore", "snapshot": "..."}             also with "any_weights": true, for a snapshot of another version

Answers come in the order of the messages; one that failed is answered with {"error": problem details}.
"""

import json
from base64 import b64decode, b64encode
from contextlib import suppress
from typing import Any

import numpy as np
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

from rnnx_runtime import InputError, PoolClosedError, RnnxError, SnapshotError, State
from rnnx_runtime.pool.async_stream import AsyncPoolStream
from service.bounds import check_push
from service.counts import Counts
from service.models import StreamSizes
from service.payloads import (
    bytes_from_floats,
    floats_from_json,
    frames_from_bytes,
    frames_from_json,
    json_from_text,
)
from service.problems import problem_from_error
from service.settings import Settings

GOING_AWAY, POLICY, TRY_LATER, IDLE = 1001, 1008, 1013, 4000
"""Close codes: RFC 6455, section 7.4, and IANA's registry; from 4000 on they are an application's own."""


class Conversation:
    """Answers the messages of one socket, one at a time, until one side has had enough."""

    def __init__(
        self, socket: WebSocket, stream: AsyncPoolStream, sizes: StreamSizes, settings: Settings, counts: Counts
    ) -> None:
        self._socket = socket
        self._stream = stream
        self._sizes = sizes
        self._settings = settings
        self._counts = counts
        self._bad = 0
        """Bad messages since the last good one."""
        self._is_busy = False
        self._is_leaving = False
        self._is_closed = False

    async def serve(self) -> None:
        """Answer until the socket is closed."""
        with suppress(WebSocketDisconnect):
            while not self._is_leaving:
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect" or self._is_closed:
                    return
                self._is_busy = True
                await self._answer(message)
                self._is_busy = False
            await self._close(GOING_AWAY, "the service ends")

    async def leave(self) -> None:
        """Close the socket once the message it is at is answered."""
        self._is_leaving = True
        if not self._is_busy:
            with suppress(WebSocketDisconnect):
                await self._close(GOING_AWAY, "the service ends")

    async def end_idle(self, snapshot: bytes) -> None:
        """Tell the client that its stream was evicted, and how to go on."""
        with suppress(WebSocketDisconnect):
            if not self._is_closed:
                await self._send_json({"do": "evicted", "snapshot": b64encode(snapshot).decode()})
            await self._close(IDLE, "idle for too long")

    async def _answer(self, message: Message) -> None:
        try:
            await self._reply(message)
            self._bad = 0
        except RnnxError as error:
            await self._send_error(error)
            self._bad += isinstance(error, InputError | SnapshotError)
            self._is_leaving |= isinstance(error, PoolClosedError)
        if self._bad >= self._settings.max_bad_messages:
            await self._close(POLICY, "too many bad messages")

    async def _reply(self, message: Message) -> None:
        data, text = message.get("bytes"), message.get("text")
        if data is None:
            control = json_from_text(text or "")
            if control.get("do") == "flush":
                await self._flush(control)
            else:
                await self._send_json(await self._obey(control))
            return
        frames = frames_from_bytes(data, self._sizes.frame, "a binary message")
        check_push(len(frames), self._sizes.output, self._settings.max_push_answer_mib)
        x = frames[0] if len(frames) == self._sizes.multiple == 1 else frames
        y = await self._stream.push(x, timeout_s=self._settings.push_timeout_s)
        await self._socket.send_bytes(bytes_from_floats(y))

    async def _flush(self, control: dict[str, Any]) -> None:
        frames = None if control.get("frames", []) == [] else frames_from_json(control["frames"], self._sizes.frame)
        check_push(0 if frames is None else len(frames), self._sizes.output, self._settings.max_push_answer_mib)
        y = await self._stream.flush(frames, timeout_s=self._settings.push_timeout_s)
        await self._socket.send_bytes(bytes_from_floats(y))

    async def _obey(self, control: dict[str, Any]) -> dict[str, Any]:
        match control.get("do"):
            case "reset":
                await self._stream.reset(_state_from_json(control))
                return {"do": "reset"}
            case "snapshot":
                return {"do": "snapshot", "snapshot": b64encode(await self._stream.snapshot()).decode()}
            case "restore":
                snapshot = _snapshot_from_json(control.get("snapshot"))
                await self._stream.restore(snapshot, any_weights=control.get("any_weights") is True)
                return {"do": "restore"}
        what = "flush | reset | snapshot | restore"
        raise InputError("'do'", got=repr(control.get("do"))[:100], expected=what, remedy="send one of these")

    async def _send_error(self, error: RnnxError) -> None:
        self._counts.errors.labels(type(error).__name__).inc()
        await self._send_json({"error": problem_from_error(error)})

    async def _send_json(self, value: dict[str, Any]) -> None:
        await self._socket.send_text(json.dumps(value))

    async def _close(self, code: int, reason: str) -> None:
        if not self._is_closed:
            self._is_closed = self._is_leaving = True
            self._counts.closes.labels(code).inc()
            await self._socket.close(code, reason)


def _state_from_json(control: dict[str, Any]) -> State | None:
    """The state `(1, H)` of a cell to start from, or None for zeros."""
    if not {"h", "c"} & control.keys():
        return None
    h = floats_from_json(control.get("h"), "'h'")
    return State(h[np.newaxis], floats_from_json(control["c"], "'c'")[np.newaxis] if "c" in control else None)


def _snapshot_from_json(value: object) -> bytes:
    try:
        if isinstance(value, str):
            return b64decode(value, validate=True)
        got = type(value).__name__
    except ValueError as error:  # also of characters beyond ASCII
        got = str(error)
    raise InputError("'snapshot'", got=got, expected="a text in Base64", remedy="send what 'snapshot' gave")
