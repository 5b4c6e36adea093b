"""More pushes than may wait."""

import asyncio
import json
from pathlib import Path

import numpy as np
from tests.examples.service.server_process import ServerProcess
from websockets.asyncio.client import connect

import rnnx_runtime

X = np.random.default_rng(0).standard_normal((400, 5), np.float32)
CLIENTS = 30


async def push_until_taken(server: ServerProcess, all_there: asyncio.Barrier) -> tuple[bytes, int]:
    """The outputs of one chunk, and how often it was refused before."""
    refused = 0
    async with connect(server.stream) as socket:
        await all_there.wait()
        while True:
            await socket.send(X.tobytes())
            answer = await socket.recv()
            if isinstance(answer, bytes):
                return answer, refused
            problem = json.loads(answer)["error"]
            assert problem["title"] == "PoolOverloaded"
            assert problem["status"] == 503
            refused += 1
            await asyncio.sleep(0.02)


async def all_at_once(server: ServerProcess) -> list[tuple[bytes, int]]:
    all_there = asyncio.Barrier(CLIENTS)
    return await asyncio.gather(*(push_until_taken(server, all_there) for _ in range(CLIENTS)))


def test_a_full_queue_refuses_at_once_and_the_stream_goes_on(small: Path) -> None:
    with ServerProcess(small, max_queue=3, max_bad_messages=1) as server:
        results = asyncio.run(all_at_once(server))
        metrics = server.metrics()
    refused = sum(count for _, count in results)
    assert refused > 0
    assert metrics["rnnx_pool_rejections_total{reason=overloaded}"] == refused
    assert metrics["rnnx_service_errors_total{kind=PoolOverloaded}"] == refused
    with rnnx_runtime.load(small / "step.onnx") as session:
        state, expected = None, []
        for frame in X:
            y, state = session.step(frame[None], state)
            expected.append(y[0])
    for answer, _ in results:
        found = np.frombuffer(answer, "<f4").reshape(400, 8)
        np.testing.assert_allclose(found, np.array(expected), rtol=0, atol=1e-6)
