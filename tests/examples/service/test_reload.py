"""New versions of the models while streams run."""

import asyncio
import json
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.examples.service.server_process import ServerProcess
from websockets.asyncio.client import connect
from websockets.sync.client import connect as connect_now

import rnnx
import rnnx_runtime

Array = NDArray[Any]

CLIENTS = 20
JSON = {"Content-Type": "application/json"}


def write_version(path: Path, hidden: int = 8) -> None:
    """A cell with weights of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        rnnx.export(torch.nn.LSTMCell(5, hidden), path)


async def push_until(server: ServerProcess, seed: int, is_over: asyncio.Event) -> tuple[list[Array], list[Array]]:
    rng = np.random.default_rng(seed)
    sent, got = [], []
    async with connect(server.stream) as socket:
        while not is_over.is_set():
            sent.append(rng.standard_normal((1, 5), np.float32))
            await socket.send(sent[-1].tobytes())
            got.append(np.frombuffer(await socket.recv(decode=False), "<f4"))
            await asyncio.sleep(0.005)
    return sent, got


async def swap_in_the_middle(server: ServerProcess, folder: Path) -> list[tuple[list[Array], list[Array]]]:
    is_over = asyncio.Event()
    clients = [asyncio.create_task(push_until(server, seed, is_over)) for seed in range(CLIENTS)]
    await asyncio.sleep(0.3)
    await asyncio.to_thread(write_version, folder / "step.onnx")
    server.signal(signal.SIGHUP)
    await asyncio.to_thread(server.wait_for, "rnnx_service_reloads_total{result=done}", 1)
    await asyncio.sleep(0.3)
    is_over.set()
    return await asyncio.gather(*clients)


def matches(sessions: list[rnnx_runtime.Session], sent: list[Array], got: list[Array]) -> int:
    """How many pushes the first model answered, if the second took over from its state."""
    first, second = sessions
    state, switch = None, 0
    for index, (x, y) in enumerate(zip(sent, got, strict=True)):
        before = state
        expected, state = (second if switch else first).step(x, before)
        if not switch and np.abs(expected[0] - y).max() > 1e-6:
            switch = index
            expected, state = second.step(x, before)
        np.testing.assert_allclose(y, expected[0], rtol=0, atol=1e-6)
    return switch


def test_streams_keep_their_states_under_a_new_version(small: Path) -> None:
    old = rnnx_runtime.load(small / "step.onnx")
    with ServerProcess(small) as server:
        conversations = asyncio.run(swap_in_the_middle(server, small))
        metrics = server.metrics()
    with old, rnnx_runtime.load(small / "step.onnx") as new:
        for sent, got in conversations:
            assert 0 < matches([old, new], sent, got) < len(sent)
    assert metrics["rnnx_pool_swaps_total"] == 1
    assert metrics["rnnx_pool_rejections_total{reason=failed}"] == 0


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def of_another_size(path: Path) -> None:
    write_version(path, hidden=9)


def gone(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("spoil", [damaged, of_another_size, gone], ids=lambda function: function.__name__)
def test_a_version_that_cannot_take_over_is_refused(small: Path, spoil: Any, small_models: dict[str, bytes]) -> None:
    x = np.zeros((3, 5), np.float32).tobytes()
    with ServerProcess(small) as server, connect_now(server.stream) as socket:
        spoil(small / "step.onnx")
        server.signal(signal.SIGHUP)
        server.wait_for("rnnx_service_reloads_total{result=refused}", 1)
        socket.send(x)
        assert len(socket.recv(decode=False)) == 3 * 8 * 4
        assert "the models that run go on" in server.text
        for name, data in small_models.items():
            (small / name).write_bytes(data)
        server.signal(signal.SIGHUP)
        server.wait_for("rnnx_service_reloads_total{result=done}", 1)
        socket.send(x)
        assert len(socket.recv(decode=False)) == 3 * 8 * 4


def run_until(server: ServerProcess, is_over: threading.Event) -> set[int]:
    """The statuses of many runs that take long to read and are over soon."""
    frame = b"[" + b",".join([b"0." + b"0" * 60] * 5) + b"]"
    body = b'{"sequences": [[' + b",".join([frame] * 2_000) + b"]]}"
    found = set()
    while not is_over.is_set():
        found.add(httpx.post(f"http://{server.address}/run", content=body, headers=JSON, timeout=20).status_code)
    return found


def test_runs_go_on_while_models_are_read_anew(small: Path) -> None:
    is_over = threading.Event()
    with ServerProcess(small) as server, ThreadPoolExecutor(2) as threads:
        runs = [threads.submit(run_until, server, is_over) for _ in range(2)]
        try:
            for reloads in range(1, 9):
                server.signal(signal.SIGHUP)
                server.wait_for("rnnx_service_reloads_total{result=done}", reloads)
        finally:
            is_over.set()
        assert [run.result() for run in runs] == [{200}, {200}]


def test_a_snapshot_of_the_version_before_is_restored_when_asked(small: Path) -> None:
    with ServerProcess(small) as server, connect_now(server.stream) as socket:
        socket.send('{"do": "snapshot"}')
        snapshot = json.loads(socket.recv())["snapshot"]
        write_version(small / "step.onnx")
        server.signal(signal.SIGHUP)
        server.wait_for("rnnx_service_reloads_total{result=done}", 1)
        socket.send(json.dumps({"do": "restore", "snapshot": snapshot}))
        assert json.loads(socket.recv())["error"]["title"] == "SnapshotError"
        socket.send(json.dumps({"do": "restore", "snapshot": snapshot, "any_weights": True}))
        assert json.loads(socket.recv()) == {"do": "restore"}
