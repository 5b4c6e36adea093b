"""Peers that neither speak nor read: each is cut off in time, and its stream's slot is free again."""

import socket
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.examples.service.raw_peers import (
    raw_close_codes,
    raw_connection,
    raw_message,
    raw_stream,
    read_to_end,
)
from tests.examples.service.server_process import ServerProcess

CHUNK = np.zeros((3000, 5), np.float32).tobytes()
"""Gives 96 kB of output."""


def ended_after(peer: socket.socket) -> tuple[bytes, float]:
    begun = time.monotonic()
    return read_to_end(peer), time.monotonic() - begun


def test_a_peer_that_answers_no_ping_is_cut_off(server: ServerProcess) -> None:
    with raw_stream(server) as peer:
        received, seconds = ended_after(peer)
    assert raw_close_codes(received) == [1011]
    assert 0.5 < seconds < 4
    server.wait_for("rnnx_service_sockets", 0)
    server.wait_for("rnnx_pool_streams", 0)


def test_a_peer_that_does_not_read_is_cut_off(server: ServerProcess) -> None:
    with raw_stream(server, receive_buffer=4096) as peer:
        peer.settimeout(0.5)
        with pytest.raises((TimeoutError, ConnectionError)):
            peer.sendall(1000 * raw_message(CHUNK))  # held back by TCP
        server.wait_for("rnnx_service_sockets", 0, within_s=6)
        server.wait_for("rnnx_pool_streams", 0)
        assert server.metrics()["rnnx_pool_queue_depth"] == 0


def test_a_peer_that_leaves_little_unread_is_cut_off(small: Path) -> None:
    limits = {"send_buffer_bytes": 4096, "peer_timeout_s": 1, "ping_s": 0.3}
    with ServerProcess(small, **limits) as server, raw_stream(server, receive_buffer=4096) as peer:
        peer.sendall(raw_message(CHUNK[:25000]))  # gives 40 kB, more than the system takes
        server.wait_for("rnnx_pool_pushes_total", 1)
        server.wait_for("rnnx_service_sockets", 0, within_s=6)


def test_a_peer_that_reads_late_learns_why_it_was_cut_off(small: Path) -> None:
    limits = {"send_buffer_bytes": 4096, "peer_timeout_s": 1, "ping_s": 30}
    with ServerProcess(small, **limits) as server, raw_stream(server, receive_buffer=4096) as peer:
        # Of more messages one would lie unread in the system when the service closes, and TCP then drops the reason.
        peer.sendall(2 * raw_message(CHUNK[:25000]))
        server.wait_for("rnnx_pool_pushes_total", 2)
        time.sleep(1.4)  # the deadline is over, the grace is not
        assert raw_close_codes(read_to_end(peer)) == [1008]
        assert "Traceback" not in server.text


def begins_nothing(peer: socket.socket) -> None:
    pass


def begins_a_head(peer: socket.socket) -> None:
    peer.sendall(b"GET /healthz HTTP/1.1\r\nHost:")


def begins_a_second_head(peer: socket.socket) -> None:
    peer.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    peer.recv(1 << 16)
    peer.sendall(b"GET /healthz HTTP/1.1\r\nHost:")


def sends_rubbish(peer: socket.socket) -> None:
    peer.sendall(bytes(range(256)))


@pytest.mark.parametrize(
    "begins",
    [begins_nothing, begins_a_head, begins_a_second_head, sends_rubbish],
    ids=lambda function: function.__name__,
)
def test_a_peer_that_does_not_finish_its_request_is_cut_off(
    server: ServerProcess, begins: Callable[[socket.socket], None]
) -> None:
    with raw_connection(server) as peer:
        begins(peer)
        assert ended_after(peer)[1] < 4


def test_a_body_that_comes_too_slowly_is_refused(server: ServerProcess) -> None:
    with raw_connection(server) as peer:
        peer.sendall(
            b"POST /run HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        received, seconds = ended_after(peer)
    assert received.startswith(b"HTTP/1.1 408 ")
    assert 0.5 < seconds < 4
