"""Probes and metrics over plain HTTP: few paths, few connections, none for long."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Iterator

import pytest

import webhook.server.status
from webhook.server.status import StatusServer


def _fail() -> tuple[int, str, bytes]:
    raise ZeroDivisionError


PAGES = {"/healthz": lambda: (200, "text/plain", b"ok\n"), "/broken": _fail}


@pytest.fixture
def server() -> Iterator[StatusServer]:
    """A server on the loopback address."""
    running = StatusServer("127.0.0.1", 0, PAGES)
    running.start()
    yield running
    running.stop()


def get(server: StatusServer, path: str, method: str = "GET") -> tuple[int, bytes]:
    """Return status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_pages_are_served_by_path(server: StatusServer) -> None:
    """A query is nobody's business."""
    assert get(server, "/healthz") == (200, b"ok\n")
    assert get(server, "/healthz?verbose") == (200, b"ok\n")


def test_everything_else_is_refused(server: StatusServer) -> None:
    """There is no other path and no other method."""
    assert get(server, "/etc/passwd") == (404, b"there is /broken, /healthz\n")
    assert get(server, "/healthz", "POST")[0] == 501


def test_a_page_that_fails_says_so_and_the_next_one_is_served(server: StatusServer) -> None:
    """Without its traceback."""
    assert get(server, "/broken") == (500, b"failed\n")
    assert get(server, "/healthz") == (200, b"ok\n")


def test_a_connection_ends_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slowly somebody sends, and a probe is answered meanwhile."""
    monkeypatch.setattr(webhook.server.status, "CONNECTION_SECONDS", 0.3)
    running = StatusServer("127.0.0.1", 0, PAGES)
    running.start()
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as slow:
        slow.sendall(b"GET /healthz HT")
        assert get(running, "/healthz")[0] == 200
        assert slow.recv(100) == b""
    running.stop()


def test_only_so_many_connections_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is closed at once, and places come free again."""
    monkeypatch.setattr(webhook.server.status, "MAX_CONNECTIONS", 2)
    running = StatusServer("127.0.0.1", 0, PAGES)
    running.start()
    held = [socket.create_connection(("127.0.0.1", running.port), timeout=10) for _ in range(2)]
    ends = time.monotonic() + 10
    while running._server._free.acquire(blocking=False):
        running._server._free.release()
        assert time.monotonic() < ends
        time.sleep(0.01)
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as third:
        assert third.recv(100) == b""
    for connection in held:
        connection.close()
    while True:
        try:
            assert get(running, "/healthz")[0] == 200
            break
        except (OSError, http.client.HTTPException):
            assert time.monotonic() < ends
    running.stop()


def test_every_address_is_both_families() -> None:
    """Pods of IPv6 clusters are probed over IPv6."""
    running = StatusServer("", 0, PAGES)
    running.start()
    try:
        with socket.create_connection(("127.0.0.1", running.port), timeout=10):
            pass
        if running._server.address_family == socket.AF_INET6:
            with socket.create_connection(("::1", running.port), timeout=10):
                pass
    finally:
        running.stop()
