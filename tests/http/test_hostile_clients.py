"""Slow, silent, invalid and vanished clients against the installed program."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from gevent.threadpool import ThreadPool

from tests.emulator.server import Emulator
from tests.http import short_timeouts
from tests.http.wire import HELLO, connect, handshake, read_answers, read_to_end, reset
from tests.support.builders import HOST, pod, review
from tests.support.process_stats import find_worker, read_process_stats, wait_until
from tests.support.serving import ServerProcess, make_certificate

pytestmark = pytest.mark.slow

BODY = review(pod(f"{HOST}/shop/web:1.0"))
HALF_HEADERS = b"POST /validate?timeout=10s HTTP/1.1\r\nHost: x\r\nContent-Ty"
HALF_BODY = (
    b"POST /validate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
)
SLACK = 2.0
"""Seconds by which a busy machine may delay an answer; a stuck answer takes ten or never comes."""


class StuckClients:
    """Connections that will never send a whole request."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._context = server.context()
        self._stop = threading.Event()
        self._dripping: list[tuple[socket.socket, bytes]] = []
        self._thread = threading.Thread(target=self._drip)
        self.connections: list[socket.socket] = []

    def send(self, data: bytes, count: int) -> None:
        """Open connections that send these bytes over TCP and stop."""
        for _ in range(count):
            self.connections.append(connect(self._server))
            self.connections[-1].sendall(data)

    def send_over_tls(self, data: bytes, count: int) -> None:
        """Open connections that send these bytes after the handshake and stop."""
        for _ in range(count):
            self.connections.append(handshake(self._server, self._context))
            self.connections[-1].sendall(data)

    def drip(self, data: bytes, count: int, *, tls: bool) -> None:
        """Open connections that send these bytes one by one, four a second."""
        self.send_over_tls(b"", count) if tls else self.send(b"", count)
        self._dripping += [(connection, data) for connection in self.connections[-count:]]

    def _drip(self) -> None:
        at = 0
        while not self._stop.wait(0.25):
            for connection, data in list(self._dripping):
                try:
                    connection.sendall(data[at % len(data) :][:1])
                except OSError:  # aborted by then
                    self._dripping.remove((connection, data))
            at += 1

    def leave(self) -> None:
        """Reset all connections at once."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(30)
        for connection in self.connections:
            reset(connection)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()


def slowest(server: ServerProcess, count: int = 30) -> float:
    """Return the longest time of ``count`` reviews or probes, each over its own connection."""
    took = []
    for _ in range(count):
        started = time.monotonic()
        assert server.validate(BODY)["allowed"]
        assert server.get("/readyz") == (200, b"ok\n")
        took.append(time.monotonic() - started)
    return max(took)


def test_1500_stuck_clients_do_not_delay_reviews(server: ServerProcess) -> None:
    """One byte, half a hello, half the headers, half a body, trickling bytes: neither then nor at their
    reset.
    """
    before = slowest(server)
    pid, calm = find_worker(server), read_process_stats(find_worker(server))
    with StuckClients(server) as crowd:
        crowd.drip(HELLO, 150, tls=False)
        crowd.drip(HALF_HEADERS, 150, tls=True)
        crowd.send(HELLO[:1], 400)
        crowd.send(HELLO, 300)
        crowd.send_over_tls(HALF_HEADERS, 350)
        crowd.send_over_tls(HALF_BODY, 150)
        meanwhile = slowest(server)
        assert read_process_stats(pid).sockets - calm.sockets > 300
    assert meanwhile < before * 20 + SLACK
    assert slowest(server) < before * 20 + SLACK
    assert wait_until(lambda: read_process_stats(pid).sockets <= calm.sockets + 5)
    assert server.metric("swr_trust_connections_cut_total", stage="handshake") >= 700
    assert "Traceback" not in server.logs()


def test_clients_above_connection_limit_evict_each_other(server: ServerProcess) -> None:
    """The newest connection is always accepted; the oldest without a request is evicted for it."""
    regular = server.connect()
    regular.request("GET", "/healthz")
    assert regular.getresponse().read() == b"ok\n"
    with StuckClients(server) as crowd:
        crowd.send(HELLO, 2300)
        assert slowest(server, 5) < SLACK + 1.0
        assert read_process_stats(find_worker(server)).sockets <= 2050
    regular.request("GET", "/healthz")
    assert regular.getresponse().read() == b"ok\n"
    regular.close()
    assert server.metric("swr_trust_connections_cut_total", stage="full") >= 400


@pytest.fixture
def short_timeout_server(emulator: Emulator, tmp_path: Path) -> Iterator[ServerProcess]:
    """Return the webhook with deadlines of a second or two."""
    certificate = make_certificate(tmp_path)
    with ServerProcess(tmp_path, emulator.url, certificate, inject="tests.http.short_timeouts") as running:
        yield running


STUCK = [
    ("a TCP connection and not a byte", False, b"", "handshake", short_timeouts.HANDSHAKE),
    ("a byte of a handshake", False, HELLO[:1], "handshake", short_timeouts.HANDSHAKE),
    ("half a ClientHello", False, HELLO, "handshake", short_timeouts.HANDSHAKE),
    ("a handshake and nothing more", True, b"", "idle", short_timeouts.FIRST_BYTE),
    ("half a request line", True, b"POST /vali", "request", short_timeouts.REQUEST),
    ("half the headers", True, HALF_HEADERS, "request", short_timeouts.REQUEST),
    ("half a body", True, HALF_BODY, "request", short_timeouts.REQUEST),
    (
        "half a chunk",
        True,
        HALF_BODY.replace(b"Content-Length: 99", b"Transfer-Encoding: chunked")[:-1] + b"9\r\nabc",
        "request",
        short_timeouts.REQUEST,
    ),
]


def test_stuck_connection_is_closed_without_plaintext_and_counted(
    short_timeout_server: ServerProcess,
) -> None:
    """It is closed after the deadline of its stage, without a byte in plain text, and no resource
    stays open.
    """
    pid, calm = find_worker(short_timeout_server), read_process_stats(find_worker(short_timeout_server))
    context = short_timeout_server.context()
    opened = []
    for what, tls, data, _, _ in STUCK:
        connection = handshake(short_timeout_server, context) if tls else connect(short_timeout_server)
        connection.sendall(data)
        opened.append((what, connection))
    seen = {what: read_to_end(connection) for what, connection in opened}
    assert seen == {what: b"" for what, _ in opened}
    for _, connection in opened:
        connection.close()
    assert wait_until(lambda: read_process_stats(pid).descriptors <= calm.descriptors)
    stages = ("handshake", "idle", "request")
    cut = {
        stage: short_timeout_server.metric("swr_trust_connections_cut_total", stage=stage) for stage in stages
    }
    assert cut == {stage: sum(case[3] == stage for case in STUCK) for stage in stages}


def test_part_of_next_request_has_time_limit_of_request(short_timeout_server: ServerProcess) -> None:
    """Fault C1: it arrives together with the previous request, and nothing follows."""
    connection = handshake(short_timeout_server)
    connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + HALF_HEADERS)
    started = time.monotonic()
    assert [answer.status for answer in read_answers(connection)] == [200]
    assert time.monotonic() - started < short_timeouts.REQUEST + SLACK
    assert short_timeout_server.metric("swr_trust_connections_cut_total", stage="request") == 1
    connection.close()


@pytest.mark.parametrize("tls", [False, True], ids=["in the handshake", "in the headers"])
def test_slow_bytes_do_not_extend_deadline(short_timeout_server: ServerProcess, tls: bool) -> None:
    """A byte each quarter of a second, of a header or a hello that would take a minute."""
    with StuckClients(short_timeout_server) as crowd:
        crowd.drip(b"x" if tls else HELLO + b"\0" * 189, 20, tls=tls)
        started = time.monotonic()
        for connection in crowd.connections:
            connection.settimeout(20)
            assert read_to_end(connection) == b""
        assert time.monotonic() - started < short_timeouts.REQUEST + short_timeouts.FIRST_BYTE + 2 * SLACK


def test_clients_gone_during_handshake_are_counted_not_logged(server: ServerProcess) -> None:
    """A load balancer's probe, a scanner or a killed process is counted, without a log record."""
    before = server.logs()
    for said in (b"", HELLO[:1], HELLO, b"\x15\x03\x01\x00\x02\x02\x28"):
        for leave in (reset, socket.socket.close):
            for _ in range(25):
                connection = connect(server)
                connection.sendall(said)
                leave(connection)
    assert wait_until(lambda: server.metric("swr_trust_connections_cut_total", stage="handshake") == 200)
    assert server.logs() == before


PLAIN = [
    b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /validate HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.9\r\n",
    b"\0" * 300,
    b"\x16\x03\x01\x00\x05hello",
]


def test_plaintext_request_gets_no_plaintext_response(server: ServerProcess) -> None:
    """A client without TLS gets an alert record of at most seven bytes, or nothing."""
    for data in PLAIN:
        connection = connect(server)
        connection.sendall(data)
        answer = read_to_end(connection)
        connection.close()
        assert answer == b"" or (len(answer) == 7 and answer.startswith(b"\x15\x03")), data
    assert server.metric("swr_trust_connections_cut_total", stage="handshake") == len(PLAIN)


def test_client_that_does_not_read_does_not_delay_others(server: ServerProcess) -> None:
    """It fills only its own buffers."""
    connection = handshake(server)
    connection.settimeout(0.5)
    requests = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 300_000
    with pytest.raises(OSError):  # noqa: PT011 - a timeout or a reset, by who gives up first
        connection.sendall(requests)
    assert slowest(server, 5) < SLACK + 1.0
    connection.close()


FLOODS = [
    ("request upon request", b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
    (
        "a body in chunks of a byte",
        b"POST /validate HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"1\r\nx\r\n",
    ),
]


@pytest.mark.parametrize(("first", "then"), [case[1:] for case in FLOODS], ids=[case[0] for case in FLOODS])
def test_client_that_sends_without_pause_does_not_delay_others(
    server: ServerProcess, first: bytes, then: bytes
) -> None:
    """It sends over one connection; other connections are served in between."""
    before = slowest(server, 5)
    connection = handshake(server)
    connection.sendall(first)
    connection.setblocking(False)
    stop: list[bool] = []

    def flood() -> None:
        at = 0
        while not stop:
            try:
                at = (at + connection.send((then * 200)[at:])) % len(then)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                pass
            except OSError:  # aborted by then
                return
            with contextlib.suppress(ssl.SSLWantReadError, OSError):
                connection.recv(1 << 20)

    native = ThreadPool(1)  # it never waits, so that no other greenlet of this process would run
    flooding = native.spawn(flood)
    time.sleep(0.5)
    try:
        assert slowest(server, 5) < before * 20 + SLACK
    finally:
        stop.append(True)
        flooding.get(timeout=10)
        native.kill()
        connection.close()
