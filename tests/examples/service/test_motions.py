"""The service on a whole model that looks ahead: the trained spotter of motions."""

import json
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.examples.service.server_process import ROOT, ServerProcess
from websockets.sync.client import ClientConnection, connect

from motions.evaluate import load
from motions.export import export_spotter

FOLDER = ROOT / "models" / "motions"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("motions")
    path = export_spotter(FOLDER, folder)
    with ServerProcess(folder, stream_model=path, encoder_model=None) as server:
        yield server


@pytest.fixture
def socket(server: ServerProcess) -> Any:
    with connect(server.stream) as socket:
        yield socket


def scores(socket: ClientConnection) -> NDArray[Any]:
    return np.frombuffer(socket.recv(decode=False), "<f4").reshape(-1, 4)


def test_a_stream_and_its_flush_give_the_scores_of_the_network(socket: ClientConnection) -> None:
    samples = np.random.default_rng(0).standard_normal((30, 6), np.float32)
    parts = []
    for start, count in ((0, 1), (1, 1), (2, 1), (3, 7), (10, 15)):
        socket.send(samples[start : start + count].tobytes())
        parts.append(scores(socket))
    assert [len(part) for part in parts] == [0, 0, 0, 6, 15]
    socket.send(json.dumps({"do": "flush", "frames": samples[25:].tolist()}))
    found = np.concatenate([*parts, scores(socket)])
    with torch.no_grad():
        expected = load(FOLDER)(torch.from_numpy(samples[None]))[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_stream_that_was_flushed_says_how_to_go_on(socket: ClientConnection) -> None:
    socket.send(np.ones(6, "<f4").tobytes())
    scores(socket)
    socket.send(json.dumps({"do": "flush"}))
    assert scores(socket).shape == (1, 4)
    socket.send(np.ones(6, "<f4").tobytes())
    assert "reset" in json.loads(socket.recv())["error"]["remedy"]
    socket.send(json.dumps({"do": "reset"}))
    assert json.loads(socket.recv()) == {"do": "reset"}
    socket.send(np.ones(6, "<f4").tobytes())
    assert len(scores(socket)) == 0


@pytest.mark.parametrize("frames", [[[1.0]], [1.0] * 6, "all", [["a"] * 6], 5, 0, {}, False])
def test_last_frames_of_another_shape_are_refused(socket: ClientConnection, frames: object) -> None:
    socket.send(json.dumps({"do": "flush", "frames": frames}))
    assert "error" in json.loads(socket.recv())
    socket.send(np.ones((9, 6), "<f4").tobytes())
    assert len(scores(socket)) == 5


def test_a_service_without_an_encoder_has_no_runs(server: ServerProcess) -> None:
    request = Request(f"http://{server.address}/run", b"{}", {"Content-Type": "application/json"})
    with pytest.raises(HTTPError) as refused:
        urlopen(request, timeout=10)
    with refused.value as answer:
        assert (answer.code, b"RNNX_SERVICE_ENCODER_MODEL" in answer.read()) == (404, True)
