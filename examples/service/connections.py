"""What uvicorn leaves to others: peers that neither speak nor read, and an end that waits for what is on its way.

Both kinds of connections take their limits from uvicorn's own options: `timeout_keep_alive` and `ws_ping_timeout`.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from types import FrameType

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import State

SLOW = 1008
"""The close code of a peer that does not read."""
GRACE_S = 1.0
"""How long a peer that does not read has to read why it is cut off."""


READ_BYTES = 1 << 12
"""What is read from a connection before others have their turn. Parsing a byte of a chunk or of a frame takes a hundred
times longer than copying it: the 256 KiB that asyncio reads by itself would hold up all streams for half a second."""


class SmallReads(asyncio.BufferedProtocol):
    """Hands a protocol's `data_received` a few KiB for each turn of the event loop."""

    data_received: Callable[[bytes], None]
    _read: bytearray | None = None

    def get_buffer(self, sizehint: int) -> bytearray:
        """Where the transport puts what it reads."""
        self._read = self._read or bytearray(READ_BYTES)
        return self._read

    def eof_received(self) -> None:
        """Nothing: the connection is closed."""

    def buffer_updated(self, nbytes: int) -> None:
        """Called by the transport when it has read."""
        assert self._read is not None
        self.data_received(bytes(self._read[:nbytes]))


class Deadline:
    """Calls a function some time after it was started, unless it is stopped before."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    def start(self, seconds: float, function: Callable[[], None]) -> None:
        """Start it, unless it runs."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, function)

    def stop(self) -> None:
        """Stop it, if it runs."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class HttpConnection(SmallReads, H11Protocol):
    """Cuts off a peer that does not send the head of its request in time, or does not read the answer."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's own
        self._head, self._unread = Deadline(), Deadline()
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread.start(self.config.ws_ping_timeout or 0.0, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unread.stop()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._head.stop()
        self._unread.stop()

    def _watch(self) -> None:
        """Let the deadline run exactly while a head is on its way."""
        has_passed_on = self.transport.get_protocol() is not self  # to a WebSocket
        if has_passed_on or self.transport.is_closing() or (self.cycle and not self.cycle.response_complete):
            self._head.stop()
        else:
            self._head.start(self.timeout_keep_alive, self.transport.abort)


class WebSocketConnection(SmallReads, WebSocketsSansIOProtocol):
    """Holds one unsent message at most, and cuts off a peer that does not read it in time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._unread = Deadline()
        transport.set_write_buffer_limits(high=0)  # senders wait as soon as the system takes no more
        super().connection_made(transport)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread.start(self.ping_timeout or 0.0, self._cut_off)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unread.stop()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unread.stop()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        super().shutdown()
        if self.transport.get_write_buffer_size():
            self.transport.abort()

    def _cut_off(self) -> None:
        """Say why, to a peer that reads on now, and drop what is unread a little later."""
        self._unread.stop()
        self._unread.start(GRACE_S, self.transport.abort)
        if self.conn.state is State.OPEN:
            self.conn.send_close(SLOW, "reads too slowly")
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
        self.transport.close()


class DrainingServer(uvicorn.Server):
    """A server that lets the application end its conversations before connections are closed, and then exits with 0."""

    def __init__(self, config: uvicorn.Config, drain: Callable[[], Awaitable[None]]) -> None:
        super().__init__(config)
        self._drain = drain

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end; a second signal ends at once. Uvicorn would raise the signal again once it is done."""
        self.force_exit = self.should_exit
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        await self._drain()
        await super().shutdown(sockets)
