"""Whole sequences over HTTP."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.examples.service.raw_peers import raw_connection, read_to_end
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


OCTETS = "application/octet-stream"
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
    "text": ({"json": {"sequences": [[["1.5"] * 5]]}}, 400, "sequence 0"),
    "truth": ({"json": {"sequences": [[[True] * 5]]}}, 400, "expected finite numbers"),
    "infinity": ({"content": '{"sequences": [[[1e999, 0, 0, 0, 0]]]}'}, 400, "expected finite numbers"),
    "beyond-float32": ({"content": '{"sequences": [[[1e39, 0, 0, 0, 0]]]}'}, 400, "expected finite numbers"),
    "beyond-float64": ({"content": '{"sequences": [[[1' + "0" * 310 + ",0,0,0,0]]]}"}, 400, "expected finite numbers"),
    "huge-int": ({"content": '{"sequences": [[[' + "9" * 60000 + ",0,0,0,0]]]}"}, 400, "sequence 0"),
    "deep-frame": ({"content": '{"sequences": [[' + "[" * 60000}, 400, "sequence 0"),
    "key-twice": ({"content": '{"sequences": [[[0,0,0,0,0]]], "sequences": []}'}, 400, "expected an object"),
    "other-key": ({"json": {"lengths": [1], "sequences": [[FRAME]]}}, 400, "expected an object"),
    "more-text": ({"content": '{"sequences": [[[0,0,0,0,0]]]} x'}, 400, "expected an object"),
    "cut": ({"content": '{"sequences": [[[0,0,0,0,0]'}, 400, "expected an object"),
    "comma-at-end": ({"content": '{"sequences": [[[0,0,0,0,0]],]}'}, 400, "sequence 1"),
    "page": ({"content": '{"sequences": [[[0,0,0,0,0]]]}', "headers": {"Content-Type": "text/plain"}}, 415, OCTETS),
    "no-type": ({"content": b"{}", "headers": {}}, 415, OCTETS),
    "chunks": ({"content": iter([b"{}"])}, 411, "Content-Length"),
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


@pytest.mark.parametrize("lengths", ["", "8,1", "9,-1", "8,0", "x", "4.0,4", "+8", "0_8", "9" * 5000])
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


@pytest.mark.parametrize("spaces", ["", " ", "\n\t  "], ids=["none", "one", "many"])
def test_json_may_have_spaces_anywhere(server: ServerProcess, spaces: str) -> None:
    tokens = ["{", '"sequences"', ":", "[", "[", "[", *",".join("12345"), "]", "]", "]", "}"]
    text = spaces + spaces.join(tokens) + spaces
    plain = post(server, json={"sequences": [[[1, 2, 3, 4, 5]]]}).json()
    assert post(server, content=text, headers={"Content-Type": "Application/JSON; charset=utf-8"}).json() == plain


def test_octets_answer_json_where_they_are_asked_for(server: ServerProcess, small: Path) -> None:
    body = {"sequences": [sequence.tolist() for sequence in SEQUENCES]}
    answer = post(server, json=body, headers={"Accept": OCTETS})
    outputs, state = expected(small)
    assert state.c is not None
    values = [part.ravel() for part in (*outputs, state.h, state.c)]
    assert answer.headers["content-type"] == OCTETS
    np.testing.assert_array_equal(np.frombuffer(answer.content, "<f4"), np.concatenate(values))


def test_json_answers_octets_where_it_is_asked_for(server: ServerProcess) -> None:
    body = b"".join(sequence.tobytes() for sequence in SEQUENCES)
    headers = {"Content-Type": OCTETS, "Accept": "application/json"}
    answer = post(server, params={"lengths": "4,1,3"}, content=body, headers=headers).json()
    assert answer == post(server, json={"sequences": [sequence.tolist() for sequence in SEQUENCES]}).json()


def test_a_long_answer_is_whole(small: Path) -> None:
    x = np.random.default_rng(1).standard_normal((4, 1500, 5), np.float32)
    lengths = ",".join(["1500"] * 4)
    with ServerProcess(small) as server:
        written = post(server, json={"sequences": x.tolist()}).json()
        octets = post(
            server, params={"lengths": lengths}, content=x.tobytes(), headers={"Content-Type": OCTETS}
        ).content
    outputs = np.frombuffer(octets[: 4 * 4 * 1500 * 16], "<f4").reshape(4, 1500, 16)
    np.testing.assert_array_equal(np.array(written["outputs"], np.float32), outputs)


@pytest.mark.parametrize("accept", ["application/json", OCTETS])
def test_an_answer_of_more_than_its_limit_is_refused_before_it_is_computed(small: Path, accept: str) -> None:
    number = 24 if accept == "application/json" else 4
    fits = int(0.05 * 2**20 / (48 * number + (30 if number == 24 else 0)))  # 16 outputs and 32 states for each
    with ServerProcess(small, max_answer_mib=0.05) as server:
        taken = post(server, json={"sequences": [[FRAME]] * fits}, headers={"Accept": accept})
        refused = post(server, json={"sequences": [[FRAME]] * (fits + fits // 10)}, headers={"Accept": accept})
        assert server.metrics()["rnnx_service_runs_total"] == 1
    assert taken.status_code == 200
    assert len(taken.content) <= 0.05 * 2**20
    assert refused.status_code == 413
    problem = refused.json()
    assert problem["subject"] == "the answer"
    assert problem["expected"] == "at most 0.05 MiB"
    assert {"got", "remedy"} <= problem.keys()


def test_one_long_sequence_among_many_short_ones_is_refused(small: Path) -> None:
    ragged = {"sequences": [[FRAME] * 200, *[[FRAME]] * 99]}
    even = {"sequences": [[FRAME] * 3] * 100}
    with ServerProcess(small, max_padded_mib=1) as server:
        refused, taken = post(server, json=ragged), post(server, json=even)
    assert refused.status_code == 413
    assert refused.json()["expected"] == "at most 1 MiB when padded to equal lengths"
    assert taken.status_code == 200


def test_an_answer_that_is_not_read_in_time_is_cut_off_and_gives_its_place_back(small: Path) -> None:
    body = json.dumps({"sequences": [[FRAME] * 3000] * 5}).encode()
    limits = {"answer_timeout_s": 0.5, "send_buffer_bytes": 4096, "max_waiting_runs": 0}
    with ServerProcess(small, **limits) as server, raw_connection(server, 4096) as peer:
        head = f"POST /run HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        peer.sendall(f"{head}\r\n\r\n".encode() + body)
        server.wait_for("rnnx_service_runs_total", 1)
        until = time.monotonic() + 20
        while (answer := post(server, json={"sequences": [[FRAME]]})).status_code == 503:
            assert time.monotonic() < until
            time.sleep(0.1)
        assert answer.status_code == 200
        assert "Traceback" not in server.text


def test_pipelined_requests_are_answered_in_order(server: ServerProcess) -> None:
    with raw_connection(server) as peer:
        paths = ["healthz", "nothing"] * 20
        requests = "".join(f"GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n" for path in paths)
        peer.sendall((requests + "GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").encode())
        answers = re.findall(rb"HTTP/1.1 (\d+) ", read_to_end(peer))
    assert answers == [b"200", b"404"] * 20 + [b"404"]


def test_paths_and_methods_that_are_none_are_problems(server: ServerProcess) -> None:
    assert httpx.get(f"http://{server.address}/nothing").json()["status"] == 404
    assert httpx.get(f"http://{server.address}/run").json()["status"] == 405


def test_health_says_what_is_served(server: ServerProcess) -> None:
    status, health = server.health()
    assert (status, health["status"]) == (200, "serving")
    assert health["model"]["hidden_size"] == 8
    assert {"streams", "capacity", "queue_depth", "sockets"} <= health.keys()
