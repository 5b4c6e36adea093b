"""How the service ends, and how it does not begin."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tests.examples.service.raw_peers import raw_message, raw_stream, read_to_end
from tests.examples.service.server_process import ROOT, ServerProcess
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as connect_now

CLIENTS = 40
CHUNK = np.random.default_rng(0).standard_normal((240, 64), np.float32).tobytes()


async def push_and_read_on(server: ServerProcess) -> tuple[list[int], int]:
    """The bytes of each answer to two chunks sent at once, and the close code."""
    sizes: list[int] = []
    async with connect(server.stream, max_size=None) as socket:
        await socket.send(CHUNK)
        await socket.send(CHUNK)
        try:
            while True:
                sizes.append(len(await asyncio.wait_for(socket.recv(), 20)))
        except ConnectionClosed as error:
            return sizes, error.rcvd.code if error.rcvd else 1006


async def end_in_the_middle(server: ServerProcess) -> tuple[list[tuple[list[int], int]], float]:
    """What each client got, and how long the end took."""
    clients = [asyncio.create_task(push_and_read_on(server)) for _ in range(CLIENTS)]
    while (await asyncio.to_thread(server.metrics))["rnnx_pool_queue_depth"] < CLIENTS:
        await asyncio.sleep(0.005)
    begun = time.monotonic()
    server.signal(signal.SIGTERM)
    await asyncio.sleep(0.3)
    with pytest.raises(OSError):  # noqa: PT011 - refused, or reset from a backlog
        await connect(server.stream)
    results = await asyncio.gather(*clients)
    assert await asyncio.to_thread(server.process.wait, 20) == 0, server.text
    return results, time.monotonic() - begun


def test_sigterm_answers_what_was_begun_and_exits_with_0(trained: Path) -> None:
    with ServerProcess(trained) as server:
        results, seconds = asyncio.run(end_in_the_middle(server))
    whole = 240 * 384 * 4
    assert {code for _, code in results} == {1001}
    assert all(sizes in ([whole], [whole, whole]) for sizes, _ in results)
    assert seconds < 12
    assert "Traceback" not in server.text


def test_streams_that_wait_for_a_message_are_closed_at_once(small: Path) -> None:
    with ServerProcess(small) as server, connect_now(server.stream) as socket:
        begun = time.monotonic()
        server.signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as caught:
            socket.recv(timeout=10)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1001
        assert server.process.wait(10) == 0
        assert time.monotonic() - begun < 4


def test_a_peer_that_does_not_read_does_not_hold_up_the_end(small: Path) -> None:
    with ServerProcess(small, peer_timeout_s=60, drain_s=1) as server, raw_stream(server, 4096) as peer:
        for _ in range(8):
            peer.sendall(raw_message(bytes(40000)))
        time.sleep(0.5)
        begun = time.monotonic()
        server.signal(signal.SIGTERM)
        assert server.process.wait(10) == 0
        assert time.monotonic() - begun < 5
        assert "Traceback" not in server.text
        read_to_end(peer)


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({}, "RNNX_SERVICE_STREAM_MODEL: got nothing"),
        ({"RNNX_SERVICE_PORTS": "1"}, "RNNX_SERVICE_PORTS: got no setting of that name"),
        ({"RNNX_SERVICE_STREAM_MODEL": "none.onnx", "RNNX_SERVICE_ENCODER_MODEL": "encoder.onnx"}, "none.onnx"),
        (
            {"RNNX_SERVICE_STREAM_MODEL": "step.onnx", "RNNX_SERVICE_ENCODER_MODEL": "step.onnx"},
            "expected form encoder",
        ),
        (
            {"RNNX_SERVICE_STREAM_MODEL": "encoder.onnx", "RNNX_SERVICE_ENCODER_MODEL": "encoder.onnx"},
            "got a bidirectional encoder",
        ),
    ],
    ids=["no-model", "unknown", "no-file", "no-encoder", "no-step"],
)
def test_a_wrong_start_is_one_line_and_exit_code_2(small: Path, variables: dict[str, str], says: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "examples")} | variables
    done = subprocess.run(
        [sys.executable, "-m", "service"], cwd=small, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_service_imports_neither_torch_nor_onnx() -> None:
    program = "import sys, service.app, service.connections; print(*sorted({n.partition('.')[0] for n in sys.modules}))"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "examples")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert not {"torch", "onnx", "rnnx", "safetensors"} & set(done.stdout.split())
