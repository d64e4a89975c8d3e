"""Probes and metrics over plain HTTP: few paths, few connections, short timeouts."""

from __future__ import annotations

import contextlib
import http.client
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from gevent.pool import Pool

import webhook.server.plain_http
from webhook.server.app import create_app
from webhook.server.health import Report
from webhook.server.plain_http import PlainServer


class FakeProbes:
    """Not ready; the last round has failed."""

    def live(self) -> Report:
        return Report(ok=True)

    def ready(self, *, verbose: bool) -> Report:
        del verbose
        return Report(ok=False, lines=("the last round failed",))


def _fail() -> bytes:
    raise ZeroDivisionError


@contextmanager
def serving(host: str = "127.0.0.1") -> Iterator[PlainServer]:
    """Serve on ``host``; the metrics cannot be rendered."""
    running = PlainServer(host, 0, create_app(FakeProbes(), _fail, lambda _: None))
    running.start()
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def server() -> Iterator[PlainServer]:
    """Return a server on the loopback address."""
    with serving() as running:
        yield running


def get(server: PlainServer, path: str, method: str = "GET") -> tuple[int, bytes]:
    """Return status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        assert response.getheader("Connection") == "close"
        return response.status, response.read()
    finally:
        connection.close()


def exchange(server: PlainServer, data: bytes) -> bytes:
    """Send bytes and return everything until the end."""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
        connection.sendall(data)
        answer = b""
        with contextlib.suppress(ConnectionResetError):  # the server has not read all of it
            while piece := connection.recv(4096):
                answer += piece
        return answer


def test_pages_are_served_by_path(server: PlainServer) -> None:
    """A query is ignored."""
    assert get(server, "/healthz") == (200, b"ok\n")
    assert get(server, "/healthz?verbose") == (200, b"ok\n")
    assert get(server, "/readyz") == (503, b"the last round failed\nnot ready\n")


def test_unknown_path_and_method_are_rejected(server: PlainServer) -> None:
    """No other path or method exists."""
    assert get(server, "/etc/passwd") == (404, b'{"error":"there is /healthz, /readyz and /metrics"}')
    assert get(server, "/validate", "POST") == (404, b'{"error":"there is /healthz, /readyz and /metrics"}')
    assert get(server, "/healthz", "POST") == (405, b'{"error":"every path takes GET"}')


def test_failing_page_returns_500_and_next_one_is_served(server: PlainServer) -> None:
    """The answer has no traceback."""
    assert get(server, "/metrics") == (500, b'{"error":"Internal Server Error"}')
    assert get(server, "/healthz") == (200, b"ok\n")


@pytest.mark.parametrize(
    "request_",
    [
        b"\0\0\0\0\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"POST /healthz\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n",
        b"GET /healthz HTTP/1.1\r\na: " + b"b" * 100_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n",
    ],
    ids=["zeros", "version", "method", "length", "fields", "long field", "TLS"],
)
def test_malformed_request_is_answered_without_a_log_line(
    request_: bytes, server: PlainServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """The port is open to the cluster: a client must not write to the log, least of all with a traceback."""
    with caplog.at_level(logging.DEBUG):
        assert exchange(server, request_).partition(b"\r\n")[0] in (b"HTTP/1.1 400 Bad Request", b"")
    assert caplog.messages == []
    assert capfd.readouterr() == ("", "")
    assert get(server, "/healthz")[0] == 200


def test_a_client_that_is_gone_is_not_logged(
    server: PlainServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """In the middle of its request, or before its answer."""
    for data in (b"", b"GET /hea", b"GET /healthz HTTP/1.1\r\n\r\n" * 100):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
            connection.sendall(data)
    assert get(server, "/healthz")[0] == 200
    assert caplog.messages == []
    assert capfd.readouterr() == ("", "")


def test_one_connection_brings_one_request(server: PlainServer) -> None:
    """Otherwise a client could keep a connection for any time."""
    answer = exchange(server, b"GET /healthz HTTP/1.1\r\nConnection: keep-alive\r\n\r\n" * 3)
    assert answer.count(b"HTTP/1.1 200 OK") == 1


@pytest.mark.parametrize("data", [b"GET /healthz HT", b"POST /healthz HTTP/1.1\r\nContent-Length: 9\r\n\r\n"])
def test_slow_status_connection_is_closed_after_its_time(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any speed of sending; a probe is answered in the meantime."""
    monkeypatch.setattr(webhook.server.plain_http, "CONNECTION_SECONDS", 0.3)
    with serving() as running, socket.create_connection(("127.0.0.1", running.server_port), 10) as slow:
        slow.sendall(data)
        assert get(running, "/healthz")[0] == 200
        while slow.recv(100):
            pass


def test_status_connections_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is accepted when another has ended."""
    monkeypatch.setattr(webhook.server.plain_http, "MAX_CONNECTIONS", 2)
    with serving() as running:
        held = [socket.create_connection(("127.0.0.1", running.server_port), 10) for _ in range(2)]
        with socket.create_connection(("127.0.0.1", running.server_port), 10) as third:
            third.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
            third.settimeout(0.3)
            with pytest.raises(TimeoutError):
                third.recv(100)
            assert isinstance(running.pool, Pool)
            assert len(running.pool) == 2
            held[0].close()
            third.settimeout(10)
            assert third.recv(100).startswith(b"HTTP/1.1 200 OK")
        held[1].close()


def test_wildcard_address_listens_on_ipv4_and_ipv6() -> None:
    """Pods of IPv6 clusters are probed over IPv6."""
    with serving("") as running:
        with socket.create_connection(("127.0.0.1", running.server_port), timeout=10):
            pass
        if socket.has_dualstack_ipv6():
            with socket.create_connection(("::1", running.server_port), timeout=10):
                pass
