"""Two hundred streams at once on a trained model, and among them one of each kind that means harm."""

import asyncio
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.examples.service.raw_peers import raw_connection, raw_message, raw_stream, read_to_end
from tests.examples.service.server_process import ServerProcess
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

import rnnx_runtime

Array = NDArray[Any]

SOCKETS = 200
SECONDS = 3.0
WIDTH = 64


@dataclass
class Told:
    """What one client sent and got."""

    x: list[Array] = field(default_factory=list)
    y: list[Array] = field(default_factory=list)


async def talk(server: ServerProcess, seed: int, all_there: asyncio.Barrier) -> Told:
    """Push frames and chunks until the time is over; any error or early close is raised."""
    rng, chance, told = np.random.default_rng(seed), random.Random(seed), Told()
    async with connect(server.stream, open_timeout=30) as socket:
        await all_there.wait()
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            x = rng.standard_normal((chance.choice((1, 1, 1, 2, 5)), WIDTH), np.float32)
            await socket.send(x.tobytes())
            told.x.append(x)
            told.y.append(np.frombuffer(await socket.recv(decode=False), "<f4").reshape(len(x), -1))
            await asyncio.sleep(chance.random() * 0.1)
    return told


async def oversized(server: ServerProcess) -> int:
    async with connect(server.stream, max_size=None) as socket:
        await socket.send(bytes(1 << 17))
        return await close_code(socket)


async def garbage(server: ServerProcess) -> int:
    async with connect(server.stream) as socket:
        for index in range(8):
            await socket.send(random.Random(index).randbytes(1001 + index) if index % 2 else "}{" * index)
        return await close_code(socket)


async def close_code(socket: Any) -> int:
    try:
        while True:
            await asyncio.wait_for(socket.recv(), 20)
    except ConnectionClosed as error:
        return error.rcvd.code if error.rcvd else 1006


def slow_reader(server: ServerProcess) -> None:
    """Sends as much as the service takes, and never reads; returns once it is cut off."""
    with raw_stream(server, receive_buffer=4096) as peer:
        peer.settimeout(20)
        with pytest.raises(ConnectionError):
            peer.sendall(1500 * raw_message(bytes(200 * 4 * WIDTH)))


def half_open(server: ServerProcess) -> bytes:
    """Becomes a stream and is silent from then on; gives what the service says until it ends the connection."""
    with raw_stream(server) as peer:
        return read_to_end(peer)


def no_http(server: ServerProcess) -> bytes:
    with raw_connection(server) as peer:
        peer.sendall(random.Random(0).randbytes(5000))
        return read_to_end(peer)


async def all_at_once(server: ServerProcess) -> tuple[list[Told], list[Any], dict[str, float]]:
    """What the clients were told, how those that mean harm ended, and the metrics while all were there."""
    all_there = asyncio.Barrier(SOCKETS + 1)
    talks = [asyncio.create_task(talk(server, seed, all_there)) for seed in range(SOCKETS)]
    await asyncio.wait_for(all_there.wait(), 30)
    attacks = asyncio.gather(
        oversized(server),
        garbage(server),
        *(asyncio.to_thread(attack, server) for attack in (slow_reader, half_open, no_http)),
    )
    await asyncio.sleep(SECONDS / 2)
    metrics = await asyncio.to_thread(server.metrics)
    return await asyncio.gather(*talks), await attacks, metrics


def check(session: rnnx_runtime.Session, told: Told) -> None:
    """Hold what a client was told against a lone session, frame by frame."""
    state, found, expected = None, np.concatenate(told.y), []
    for frame in np.concatenate(told.x):
        y, state = session.step(frame[None], state)
        expected.append(y[0])
    np.testing.assert_allclose(found, np.array(expected), rtol=0, atol=1e-6)


@pytest.mark.slow
def test_two_hundred_streams_get_what_lone_sessions_give_whatever_the_others_do(trained: Path) -> None:
    limits = {"ping_s": 1, "peer_timeout_s": 1, "request_timeout_s": 2}
    with ServerProcess(trained, **limits) as server:
        talks, (large, rubbish, _, silent, not_http), metrics = asyncio.run(all_at_once(server))
        assert (large, rubbish) == (1009, 1008)
        assert b"\x03\xf3keepalive ping timeout" in silent  # 1011
        assert not_http == b"" or not_http.startswith(b"HTTP/1.1 400 ")
        pushes = sum(len(told.y) for told in talks)
        assert min(len(told.y) for told in talks) >= 3, "a stream starved"
        assert metrics["rnnx_service_sockets"] >= SOCKETS
        assert 0 < metrics["rnnx_pool_pushes_total"] <= pushes + 500
        server.wait_for("rnnx_service_sockets", 0)
        server.wait_for("rnnx_pool_streams", 0)
        after = server.metrics()
        assert after["rnnx_pool_pushes_total"] >= pushes
        assert after["rnnx_pool_latency_seconds_count"] == after["rnnx_pool_pushes_total"]
        assert after["rnnx_pool_batch_size_bucket{le=1.0}"] < after["rnnx_pool_batch_size_count"], "nothing was batched"
        assert after["rnnx_pool_queue_depth"] == 0
        assert "Traceback" not in server.text
    with rnnx_runtime.load(trained / "step.onnx") as session:
        for told in talks:
            check(session, told)
