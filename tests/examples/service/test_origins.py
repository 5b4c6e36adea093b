"""Who may ask: hosts and origins."""

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.examples.service.conftest import written
from tests.examples.service.server_process import ServerProcess
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

BODY = {"sequences": [[[0.0] * 5]]}


@pytest.fixture(scope="module")
def asked(small_models: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A service that another host and another origin may use."""
    folder = written(small_models, tmp_path_factory.mktemp("asked"))
    names = {"allowed_hosts": "rnn.example.com, *.example.org", "allowed_origins": "https://App.example.com"}
    with ServerProcess(folder, **names) as server:
        yield server


def statuses(server: ServerProcess, headers: dict[str, str]) -> tuple[int, int]:
    """The statuses of a POST and of a handshake with these headers; 101 for a stream."""
    answer = httpx.post(f"http://{server.address}/run", json=BODY, headers=headers, timeout=20)
    extra = {name: value for name, value in headers.items() if name != "Host"}
    try:
        # a client of its own host name, whose connection goes to the service
        uri = f"ws://{headers.get('Host', server.address)}/stream"
        peer = socket.create_connection(server.host_and_port)
        with connect(uri, sock=peer, additional_headers=extra):
            return answer.status_code, 101
    except InvalidStatus as error:
        return answer.status_code, error.response.status_code


TAKEN = {
    "no-browser": {},
    "own-host": {"Origin": "http://{address}"},
    "own-host-by-tls": {"Origin": "https://{address}"},
    "localhost": {"Host": "localhost:{port}", "Origin": "http://localhost:{port}"},
    "ipv6": {"Host": "[::1]:{port}", "Origin": "http://[::1]:{port}"},
    "allowed-origin": {"Origin": "https://app.example.com"},
    "allowed-host": {"Host": "rnn.example.com", "Origin": "https://rnn.example.com"},
    "allowed-hosts": {"Host": "a.example.org"},
}
REFUSED = {
    "other-site": ({"Origin": "https://evil.example"}, 403),
    "other-port": ({"Origin": "http://127.0.0.1:1"}, 403),
    "no-site": ({"Origin": "null"}, 403),
    "no-origin": ({"Origin": "http://["}, 403),
    "other-scheme": ({"Origin": "chrome-extension://{address}"}, 403),
    "user": ({"Origin": "http://{address}@evil.example"}, 403),
    "longer": ({"Origin": "https://app.example.com.evil.example"}, 403),
    "rebound": ({"Host": "evil.example:{port}", "Origin": "http://evil.example:{port}"}, 400),
    "rebound-without-origin": ({"Host": "evil.example"}, 400),
    "longer-host": ({"Host": "localhost.evil.example"}, 400),
    "other-domain": ({"Host": "evilexample.org"}, 400),
}


def filled(headers: dict[str, str], server: ServerProcess) -> dict[str, str]:
    port = server.host_and_port[1]
    return {name: value.format(address=server.address, port=port) for name, value in headers.items()}


@pytest.mark.parametrize("headers", TAKEN.values(), ids=TAKEN)
def test_a_client_of_an_allowed_origin_and_host_is_served(asked: ServerProcess, headers: dict[str, str]) -> None:
    assert statuses(asked, filled(headers, asked)) == (200, 101)


@pytest.mark.parametrize(("headers", "status"), REFUSED.values(), ids=REFUSED)
def test_any_other_is_refused(asked: ServerProcess, headers: dict[str, str], status: int) -> None:
    assert statuses(asked, filled(headers, asked)) == (status, status)


def test_a_refused_origin_is_a_problem(asked: ServerProcess) -> None:
    answer = httpx.post(f"http://{asked.address}/run", json=BODY, headers={"Origin": "https://evil.example"})
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"subject", "got", "expected", "remedy"} <= answer.json().keys()
    assert answer.json()["got"] == "https://evil.example"


def test_pages_may_not_read_what_they_are_told(asked: ServerProcess) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    answer = httpx.options(f"http://{asked.address}/run", headers=headers)
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", ["healthz", "metrics"])
def test_probes_may_ask_by_any_name(asked: ServerProcess, path: str) -> None:
    assert httpx.get(f"http://{asked.address}/{path}", headers={"Host": "10.1.2.3:8000"}).status_code == 200


def test_by_default_no_other_origin_is_allowed(small: Path) -> None:
    with ServerProcess(small) as server:
        assert statuses(server, {"Origin": "https://app.example.com"}) == (403, 403)
        assert statuses(server, {"Host": "rnn.example.com"}) == (400, 400)
