"""The installed program over TLS: it divides bytes as its conversation in memory, and Go reads its responses."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.differential.cases import CASES
from tests.differential.go_reader import build_or_skip
from tests.differential.webhook_reader import read_by_webhook
from tests.emulator.server import Emulator
from tests.http.wire import handshake, read_to_end
from tests.support.builders import HOST, UID, pod, review
from tests.support.serving import ServerProcess, make_certificate
from webhook.server.reviews import MAX_BODY

pytestmark = pytest.mark.slow

CLIENT: Final = Path(__file__).parent / "go_client"
STATUS: Final = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) [ \w-]+\r\n")
JSON: Final = {"Content-Type": "application/json"}
TRUSTED: Final = review(pod(f"{HOST}/shop/web:1.0")).decode()
UNTRUSTED: Final = review(pod(f"{HOST}/shop/web:2.0")).decode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Return one webhook for the whole module."""
    folder = tmp_path_factory.mktemp("differential")
    with Emulator() as emulator, ServerProcess(folder, emulator.url, make_certificate(folder)) as running:
        yield running


def test_running_webhook_divides_bytes_as_in_memory(server: ServerProcess) -> None:
    """So the comparison with Go holds for the installed program: each request and each refusal is answered
    once.
    """
    context = server.context()
    for name, data in CASES.items():
        read = read_by_webhook([data])
        with handshake(server, context) as connection:
            connection.sendall(data)
            socket.socket.shutdown(connection, socket.SHUT_WR)  # the method of TLS would drop the TLS state
            answer = read_to_end(connection)
        assert len(STATUS.findall(answer)) == len(read.answers), name
        if read.refusal:
            expected = read.answers[-1]
            assert int(STATUS.findall(answer)[-1]) == expected.status, name
            assert answer.endswith(b"\r\n\r\n" + expected.body), name
    assert "Traceback" not in server.logs()


def calls(server: ServerProcess, *wanted: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a client of Go gets for calls over as few connections as it needs."""
    command = [str(build_or_skip(CLIENT)), f"127.0.0.1:{server.port}", str(server.certificate.ca)]
    lines = "".join(json.dumps(call) for call in wanted).encode()
    done = subprocess.run(command, input=lines, capture_output=True, check=True, timeout=100)
    return [json.loads(line) for line in done.stdout.splitlines()]


def post(body: str, **rest: Any) -> dict[str, Any]:
    """Return a call with a review."""
    return {"method": "POST", "path": "/validate?timeout=10s", "fields": JSON, "body": body, **rest}


GET: Final[dict[str, Any]] = {"method": "GET", "path": "/healthz"}


def test_go_client_reads_reviews_over_one_connection(server: ServerProcess) -> None:
    """With a length, in chunks, and announced by ``Expect``."""
    announced = {**JSON, "Expect": "100-continue"}
    results = calls(
        server, post(TRUSTED), post(UNTRUSTED, chunked=True), post(TRUSTED, fields=announced), post(UNTRUSTED)
    )
    assert [result["error"] for result in results] == [""] * 4
    responses = [json.loads(result["body"])["response"] for result in results]
    assert [(response["uid"], response["allowed"]) for response in responses] == [
        (UID, True),
        (UID, False),
        (UID, True),
        (UID, False),
    ]
    assert [result["reused"] for result in results] == [False, True, True, True]
    assert [result["continued"] for result in results] == [False, False, True, False]
    assert all(result["length"] == len(result["body"].encode()) for result in results)


def test_go_client_keeps_connection_after_each_ordinary_error(server: ServerProcess) -> None:
    """An error of the application does not lose the connection."""
    results = calls(
        server,
        {"method": "PUT", "path": "/validate", "fields": JSON, "body": "{}"},
        post("{}"),
        {"method": "GET", "path": "/nothing"},
        {"method": "HEAD", "path": "/healthz"},
        GET,
    )
    assert [result["error"] for result in results] == [""] * 5
    assert [result["status"] for result in results] == [405, 400, 404, 200, 200]
    assert [result["reused"] for result in results] == [False, True, True, True, True]
    assert results[0]["fields"]["Allow"]
    assert (results[3]["body"], results[3]["length"]) == ("", len(results[4]["body"]))


def test_go_client_opens_connection_after_announced_end(server: ServerProcess) -> None:
    """After a review that is too large and denied, a body that is not a review, an unknown method, and its own
    request to close.
    """
    large, blank = post(TRUSTED, padding=MAX_BODY), post("", padding=2 * MAX_BODY, chunked=True)
    closing = {**GET, "fields": {"Connection": "close"}}
    unknown = {"method": "BREW", "path": "/validate"}
    results = calls(server, GET, large, blank, unknown, closing, GET)
    assert [result["error"] for result in results] == [""] * 6
    assert [result["status"] for result in results] == [200, 200, 413, 405, 200, 200]
    assert json.loads(results[1]["body"])["response"]["allowed"] is False
    assert [result["closes"] for result in results] == [False, True, True, True, True, False]
    assert [result["reused"] for result in results] == [False, True, False, False, False, False]
