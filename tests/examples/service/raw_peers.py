"""Peers that misbehave below the WebSocket protocol: bytes over TCP, no library in between."""

import os
import socket
import struct
from base64 import b64encode

from tests.examples.service.server_process import ServerProcess


def raw_connection(server: ServerProcess, receive_buffer: int = 1 << 16) -> socket.socket:
    """A connection to the service that has said nothing yet."""
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    peer.settimeout(10)
    try:
        peer.connect(server.host_and_port)
    except OSError:
        peer.close()
        raise
    return peer


def raw_stream(server: ServerProcess, receive_buffer: int = 1 << 16) -> socket.socket:
    """A connection that has become a stream; from here on it answers no ping and reads nothing by itself."""
    peer = raw_connection(server, receive_buffer)
    key = b64encode(os.urandom(16)).decode()
    head = f"Host: {server.address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13"
    peer.sendall(f"GET /stream HTTP/1.1\r\n{head}\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += peer.recv(1)
    assert b" 101 " in answer
    return peer


def raw_message(data: bytes) -> bytes:
    """A binary message as a client frames it: RFC 6455, section 5.2, with a mask of zeros."""
    return bytes([0x82, 0x80 | 127]) + struct.pack(">Q", len(data)) + bytes(4) + data


def raw_close_codes(received: bytes) -> list[int]:
    """The codes of the close frames at the end of what the service sent."""
    head = received.rfind(b"\x88", max(0, len(received) - 127))
    return [struct.unpack(">H", received[head + 2 : head + 4])[0]] if head >= 0 else []


def read_to_end(peer: socket.socket) -> bytes:
    """Everything that comes until the service ends the connection."""
    parts = []
    try:
        while part := peer.recv(1 << 16):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)
