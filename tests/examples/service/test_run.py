"""Whole sequences over HTTP."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.examples.service.server_process import ServerProcess

import rnnx_runtime

Array = NDArray[Any]

LENGTHS = (4, 1, 3)
SEQUENCES = np.split(np.random.default_rng(0).standard_normal((8, 5), np.float32), [4, 5])


def expected(folder: Path) -> tuple[list[Array], rnnx_runtime.State]:
    """Each sequence's outputs and the last states of all, by a lone session."""
    x = np.zeros((4, 3, 5), np.float32)
    for row, sequence in enumerate(SEQUENCES):
        x[: len(sequence), row] = sequence
    with rnnx_runtime.load(folder / "encoder.onnx") as session:
        output, state = session.run(x, lengths=np.array(LENGTHS))
    return [output[:length, row] for row, length in enumerate(LENGTHS)], state


def post(server: ServerProcess, **arguments: Any) -> httpx.Response:
    return httpx.post(f"http://{server.address}/run", timeout=20, **arguments)


def test_json_gives_what_a_lone_session_gives(server: ServerProcess, small: Path) -> None:
    answer = post(server, json={"sequences": [sequence.tolist() for sequence in SEQUENCES]}).json()
    outputs, state = expected(small)
    for found, output in zip(answer["outputs"], outputs, strict=True):
        np.testing.assert_array_equal(np.array(found, np.float32), output)
    assert state.c is not None
    np.testing.assert_array_equal(np.array(answer["h"], np.float32), state.h.swapaxes(0, 1))
    np.testing.assert_array_equal(np.array(answer["c"], np.float32), state.c.swapaxes(0, 1))


def test_bytes_give_what_a_lone_session_gives(server: ServerProcess, small: Path) -> None:
    body = b"".join(sequence.tobytes() for sequence in SEQUENCES)
    octets = {"Content-Type": "application/octet-stream"}
    answer = post(server, params={"lengths": "4,1,3"}, content=body, headers=octets)
    outputs, state = expected(small)
    assert state.c is not None
    values = [part.ravel() for part in (*outputs, state.h, state.c)]
    np.testing.assert_array_equal(np.frombuffer(answer.content, "<f4"), np.concatenate(values))


FRAME = [0.0] * 5
REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "no-json": ({"content": "rubbish"}, 400, "expected an object"),
    "no-utf8": ({"content": b"\xff"}, 400, "expected an object"),
    "deep-json": ({"content": "[" * 60000}, 400, "expected an object"),
    "no-sequences": ({"json": {}}, 400, "expected a list of sequences"),
    "empty": ({"json": {"sequences": []}}, 400, "expected a list of sequences"),
    "empty-sequence": ({"json": {"sequences": [[FRAME], []]}}, 400, "sequence 1"),
    "narrow": ({"json": {"sequences": [[[0.0]]]}}, 400, "expected (T, 5)"),
    "ragged": ({"json": {"sequences": [[FRAME, [0.0]]]}}, 400, "sequence 0"),
    "null": ({"json": {"sequences": [[[None] * 5]]}}, 400, "expected finite numbers"),
    "nan": ({"content": '{"sequences": [[[NaN, 0, 0, 0, 0]]]}'}, 400, "expected an object"),
    "padding": ({"json": {"sequences": [[FRAME] * 101] + [[FRAME]] * 9}}, 400, "at most 1000 frames when padded"),
    "large": ({"content": bytes((1 << 16) + 1)}, 413, "at most 65536 bytes"),
    "type": ({"content": "<x/>", "headers": {"Content-Type": "text/xml"}}, 415, "application/json"),
}


@pytest.mark.parametrize(("request_", "status", "says"), REFUSED.values(), ids=REFUSED)
def test_a_bad_request_is_a_problem(server: ServerProcess, request_: dict[str, Any], status: int, says: str) -> None:
    answer = post(server, **{"headers": {"Content-Type": "application/json"}, **request_})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert says in problem["detail"]
    assert problem["status"] == status
    assert status != 400 or {"subject", "got", "expected", "remedy"} <= problem.keys()


@pytest.mark.parametrize("lengths", ["", "8,1", "9,-1", "8,0", "x", "4.0,4"])
def test_lengths_that_do_not_fit_are_refused(server: ServerProcess, lengths: str) -> None:
    octets = {"Content-Type": "application/octet-stream"}
    answer = post(server, params={"lengths": lengths}, content=bytes(8 * 20), headers=octets)
    assert answer.status_code == 400
    assert "add up to 8 frames" in answer.json()["detail"]


def test_not_finite_bytes_are_refused(server: ServerProcess) -> None:
    octets = {"Content-Type": "application/octet-stream"}
    body = np.full(5, np.inf, "<f4").tobytes()
    answer = post(server, params={"lengths": "1"}, content=body, headers=octets)
    assert "NaN or infinity" in answer.json()["detail"]


def test_too_many_runs_at_once_are_told_to_come_later(small: Path) -> None:
    body = {"sequences": [[FRAME] * 2000] * 5}
    with ServerProcess(small, max_waiting_runs=1) as server, ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda _: post(server, json=body), range(12)))
        metrics = server.metrics()
    refused = [answer for answer in answers if answer.status_code == 503]
    assert refused
    assert {answer.status_code for answer in answers} == {200, 503}
    assert all(answer.headers["retry-after"] == "1" for answer in refused)
    assert all(answer.json()["title"] == "PoolOverloaded" for answer in refused)
    assert metrics["rnnx_service_runs_total"] == len(answers) - len(refused)


def test_paths_and_methods_that_are_none_are_problems(server: ServerProcess) -> None:
    assert httpx.get(f"http://{server.address}/nothing").json()["status"] == 404
    assert httpx.get(f"http://{server.address}/run").json()["status"] == 405


def test_health_says_what_is_served(server: ServerProcess) -> None:
    status, health = server.health()
    assert (status, health["status"]) == (200, "serving")
    assert health["model"]["hidden_size"] == 8
    assert {"streams", "capacity", "queue_depth", "sockets"} <= health.keys()
