"""What one client of `/stream` gets for what it sends."""

import json
import time
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.examples.service.server_process import ServerProcess
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

import rnnx_runtime
from rnnx_runtime.snapshot import state_from_snapshot

Array = NDArray[Any]

RNG = np.random.default_rng(0)
FRAMES = RNG.standard_normal((6, 5), np.float32)


def push(socket: ClientConnection, x: Array) -> Array:
    socket.send(x.tobytes())
    return np.frombuffer(socket.recv(decode=False), "<f4").reshape(-1, 8)


def ask(socket: ClientConnection, message: object) -> dict[str, Any]:
    socket.send(message if isinstance(message, str | bytes) else json.dumps(message))
    answer: dict[str, Any] = json.loads(socket.recv())
    return answer


def closed(socket: ClientConnection) -> int | None:
    """The code that the service closes a socket with; answers before it are passed over."""
    try:
        while True:
            socket.recv(timeout=10)
    except ConnectionClosed as error:
        return error.rcvd.code if error.rcvd else None


def expected(folder: Path, x: Array, state: rnnx_runtime.State | None = None) -> Array:
    """The outputs `(T, 8)` of a lone session."""
    with rnnx_runtime.load(folder / "step.onnx") as session:
        outputs = []
        for frame in x:
            y, state = session.step(frame[None], state)
            outputs.append(y[0])
    return np.array(outputs)


@pytest.fixture
def socket(server: ServerProcess) -> Any:
    with connect(server.stream) as socket:
        yield socket


def test_frames_and_chunks_give_what_a_lone_session_gives(socket: ClientConnection, small: Path) -> None:
    found = [push(socket, FRAMES[0]), push(socket, FRAMES[1:4]), push(socket, FRAMES[4:])]
    np.testing.assert_allclose(np.concatenate(found), expected(small, FRAMES), rtol=0, atol=1e-6)


def test_reset_begins_again_from_zeros(socket: ClientConnection, small: Path) -> None:
    push(socket, FRAMES)
    assert ask(socket, {"do": "reset"}) == {"do": "reset"}
    np.testing.assert_allclose(push(socket, FRAMES), expected(small, FRAMES), rtol=0, atol=1e-6)


def test_reset_takes_a_state(socket: ClientConnection, small: Path) -> None:
    h, c = RNG.standard_normal((2, 1, 8), np.float32)
    assert ask(socket, {"do": "reset", "h": h[0].tolist(), "c": c[0].tolist()}) == {"do": "reset"}
    state = rnnx_runtime.State(h, c)
    np.testing.assert_allclose(push(socket, FRAMES), expected(small, FRAMES, state), rtol=0, atol=1e-6)


def test_a_snapshot_goes_on_in_another_stream(socket: ClientConnection, server: ServerProcess, small: Path) -> None:
    push(socket, FRAMES[:3])
    snapshot = ask(socket, {"do": "snapshot"})["snapshot"]
    with connect(server.stream) as other:
        assert ask(other, {"do": "restore", "snapshot": snapshot}) == {"do": "restore"}
        np.testing.assert_allclose(push(other, FRAMES[3:]), expected(small, FRAMES)[3:], rtol=0, atol=1e-6)


BAD = {
    "three-bytes": (b"123", "got 3 bytes, expected a multiple of 20 bytes"),
    "no-bytes": (b"", "got 0 bytes"),
    "nan": (np.full(5, np.nan, "<f4").tobytes(), "NaN or infinity"),
    "no-json": ("rubbish", "expected an object"),
    "deep-json": ("[" * 60000, "expected an object"),
    "json-list": ("[1]", "got a list, expected an object"),
    "unknown-verb": ('{"do": "dance"}', "got 'dance', expected flush | reset | snapshot | restore"),
    "no-verb": ("{}", "got None"),
    "state-of-other-size": (
        '{"do": "reset", "h": [1, 2], "c": [1, 2]}',
        "'h0': got float32 (1, 2), expected float32 (1, 8)",
    ),
    "half-a-state": ('{"do": "reset", "c": [1, 2]}', "'h': got null"),
    "ragged-state": ('{"do": "reset", "h": [[1], 2]}', "expected nested lists of numbers"),
    "infinite-state": ('{"do": "reset", "h": [1e999]}', "expected finite numbers"),
    "huge-number": ('{"do": "reset", "h": [1' + "0" * 500 + "]}", "expected nested lists of numbers"),
    "text-for-a-number": ('{"do": "reset", "h": ["1"]}', "expected nested lists of numbers"),
    "truth-for-a-number": ('{"do": "reset", "h": [true]}', "expected nested lists of numbers"),
    "key-twice": ('{"do": "reset", "do": "snapshot"}', "a key twice"),
    "json-nan": ('{"do": "reset", "h": [NaN]}', "expected an object"),
    "no-base64": ('{"do": "restore", "snapshot": "!"}', "expected a text in Base64"),
    "no-ascii": ('{"do": "restore", "snapshot": "é"}', "expected a text in Base64"),
    "no-snapshot": ('{"do": "restore"}', "got NoneType, expected a text in Base64"),
}


@pytest.mark.parametrize(("message", "says"), BAD.values(), ids=BAD)
def test_a_bad_message_is_answered_and_changes_nothing(
    socket: ClientConnection, small: Path, message: str | bytes, says: str
) -> None:
    before = push(socket, FRAMES[:3])
    problem = ask(socket, message)["error"]
    assert says in problem["detail"]
    assert problem["status"] == 400
    assert {"subject", "got", "expected", "remedy"} <= problem.keys()
    after = push(socket, FRAMES[3:])
    np.testing.assert_allclose(np.concatenate([before, after]), expected(small, FRAMES), rtol=0, atol=1e-6)


def test_a_damaged_snapshot_is_refused(socket: ClientConnection) -> None:
    data = bytearray(b64decode(ask(socket, {"do": "snapshot"})["snapshot"]))
    data[-40] ^= 1
    problem = ask(socket, {"do": "restore", "snapshot": b64encode(data).decode()})["error"]
    assert problem["title"] == "SnapshotError"


def test_bad_messages_one_after_the_other_close_the_socket(socket: ClientConnection) -> None:
    for _ in range(7):
        ask(socket, b"123")
    push(socket, FRAMES)  # a good one: they are counted anew
    for _ in range(8):
        ask(socket, b"123")
    assert closed(socket) == 1008


def test_a_message_that_is_too_large_closes_its_socket_alone(socket: ClientConnection, server: ServerProcess) -> None:
    with connect(server.stream) as other:
        other.send(bytes((1 << 16) + 20))
        assert closed(other) == 1009
    assert push(socket, FRAMES).shape == (6, 8)


def test_a_message_of_too_many_outputs_is_refused_and_the_stream_goes_on(small: Path) -> None:
    with ServerProcess(small, max_push_answer_mib=0.01) as server, connect(server.stream) as socket:
        fits = np.zeros((327, 5), np.float32)  # of 8 outputs each
        problem = ask(socket, np.zeros((328, 5), np.float32).tobytes())["error"]
        assert problem["status"] == 413
        assert problem["expected"] == "at most 0.01 MiB"
        np.testing.assert_allclose(push(socket, fits), expected(small, fits), rtol=0, atol=1e-6)


def test_text_that_is_no_utf8_closes_its_socket_alone(socket: ClientConnection, server: ServerProcess) -> None:
    with connect(server.stream) as other:
        other.send(b"\xff\xfe", text=True)
        assert closed(other) == 1007
    assert push(socket, FRAMES).shape == (6, 8)


def test_one_stream_too_many_is_told_to_come_later(small: Path) -> None:
    with ServerProcess(small, max_streams=1) as server:
        with connect(server.stream) as first:
            push(first, FRAMES)
            with connect(server.stream) as second:
                assert closed(second) == 1013
            push(first, FRAMES)
        server.wait_for("rnnx_pool_streams", 0)
        with connect(server.stream) as third:
            push(third, FRAMES)
        assert server.metrics()["rnnx_service_closes_total{code=1013}"] == 1


def test_an_idle_stream_is_evicted_with_a_snapshot_to_go_on_with(small: Path) -> None:
    with ServerProcess(small, idle_s=0.4, ping_s=0.2, peer_timeout_s=2) as server:
        with connect(server.stream) as socket:
            push(socket, FRAMES[:3])
            notice = json.loads(socket.recv(timeout=10))
            assert notice["do"] == "evicted"
            assert closed(socket) == 4000
        with connect(server.stream) as again:
            ask(again, {"do": "restore", "snapshot": notice["snapshot"]})
            np.testing.assert_allclose(push(again, FRAMES[3:]), expected(small, FRAMES)[3:], rtol=0, atol=1e-6)
        assert server.metrics()["rnnx_pool_evictions_total"] == 1


def test_a_stream_that_is_used_is_not_evicted(small: Path) -> None:
    with ServerProcess(small, idle_s=0.5) as server, connect(server.stream) as socket:
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            push(socket, FRAMES)
            time.sleep(0.05)


def test_the_state_that_a_snapshot_holds_is_the_streams(socket: ClientConnection, small: Path) -> None:
    y = push(socket, FRAMES)
    with rnnx_runtime.load(small / "step.onnx") as session:
        h, _ = state_from_snapshot(b64decode(ask(socket, {"do": "snapshot"})["snapshot"]), session.spec)
    np.testing.assert_array_equal(h, y[-1])
