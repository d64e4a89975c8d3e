"""Connections: the order of eviction, and the timeouts of each stage."""

from __future__ import annotations

import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.serving import make_certificate
from webhook.server import connections
from webhook.server.connections import CLIENT_HELLO, HANDSHAKE, MAX_RECORD, ClientTimeout, Connection
from webhook.server.eviction import EvictionQueue


def evict(waiting: EvictionQueue[str], count: int) -> list[str | None]:
    """Return the next connections to be evicted."""
    return [waiting.evict() for _ in range(count)]


def test_oldest_new_connection_is_evicted_first() -> None:
    """Connections that have sent a request come last, in the order in which they became idle."""
    waiting: EvictionQueue[str] = EvictionQueue()
    waiting.add("api server", reused=True)
    for name in ("first", "second"):
        waiting.add(name, reused=False)
    waiting.add("other api server", reused=True)
    assert evict(waiting, 5) == ["first", "second", "api server", "other api server", None]


def test_connection_in_progress_is_not_evicted() -> None:
    """It waits for the webhook, not the webhook for it."""
    waiting: EvictionQueue[str] = EvictionQueue()
    waiting.add("in flight", reused=False)
    waiting.add("silent", reused=False)
    waiting.remove("in flight")
    assert waiting.all() == ["silent"]
    assert evict(waiting, 2) == ["silent", None]


def test_served_connection_moves_to_end_of_eviction_queue() -> None:
    """A connection that sends requests is kept longer than an idle one."""
    waiting: EvictionQueue[str] = EvictionQueue()
    for name in ("a", "b"):
        waiting.add(name, reused=True)
    waiting.remove("a")
    waiting.add("a", reused=True)
    assert evict(waiting, 2) == ["b", "a"]


def test_removing_unknown_connection_is_not_an_error() -> None:
    """An evicted connection ends a moment later."""
    waiting: EvictionQueue[str] = EvictionQueue()
    waiting.remove("gone")
    assert waiting.all() == []


CHANGE_CIPHER_SPEC = 20
APPLICATION_DATA = 23


def no_checkpoint() -> None:
    """Let nobody wait."""


class Pair:
    """An accepted socket, and its client."""

    def __init__(self, folder: Path) -> None:
        files = make_certificate(folder)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(files.certificate, files.key)
        self._trust = ssl.create_default_context(cafile=str(files.ca))
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.far = socket.create_connection(server.getsockname(), timeout=20)
            self.near, _ = server.accept()
        self._opened: list[Connection | socket.socket] = []

    def take_over(self) -> Connection:
        """Return the connection before its handshake."""
        connection = Connection(self.near, self.context)
        self._opened.append(connection)
        return connection

    def open(self) -> tuple[Connection, ssl.SSLSocket]:
        """Do the handshake."""
        connection = self.take_over()
        clients: list[ssl.SSLSocket] = []

        def shake() -> None:
            clients.append(self._trust.wrap_socket(self.far, server_hostname="localhost"))

        other = threading.Thread(target=shake)
        other.start()
        connection.handshake(no_checkpoint, no_checkpoint)
        other.join(20)
        self._opened += clients
        return connection, clients[0]

    def close(self) -> None:
        """Close everything."""
        for opened in (*self._opened, self.near, self.far):
            opened.close()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Return both ends of a connection."""
    made = Pair(tmp_path)
    yield made
    made.close()


def test_request_time_is_not_extended_by_later_bytes(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The timer starts with the first byte; no later byte extends it, even if it has already arrived."""
    connection, client = pair.open()
    assert connection.idle
    client.sendall(b"GET")
    assert connection.recv(1) == b"G"
    assert not connection.idle
    monkeypatch.setattr(connection, "_ends", time.monotonic() - 1)
    with pytest.raises(ClientTimeout):
        connection.recv(8192)


def test_idle_connection_times_out(pair: Pair) -> None:
    """The time between two requests, and before the first."""
    connection, _ = pair.open()
    connection.start_idle_timer(0.01)
    with pytest.raises(ClientTimeout):
        connection.recv(8192)
    assert connection.idle


def test_handshake_times_out(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte of it, and then nothing."""
    monkeypatch.setattr(connections, "HANDSHAKE_SECONDS", 0.01)
    connection = pair.take_over()
    pair.far.sendall(b"\x16")
    with pytest.raises(TimeoutError):
        connection.handshake(no_checkpoint, no_checkpoint)


def record(content: bytes, kind: int = HANDSHAKE) -> bytes:
    """Return a plaintext TLS record."""
    return bytes([kind]) + b"\3\3" + len(content).to_bytes(2) + content


def begin(kind: int, length: int) -> bytes:
    """Return the header of a handshake message that declares such a length."""
    return bytes([kind]) + length.to_bytes(3)


def make_hello(names: int = 0) -> bytes:
    """Return a ClientHello that offers so many protocols of eight bytes each."""
    context, outgoing = ssl.create_default_context(), ssl.MemoryBIO()
    if names:
        context.set_alpn_protocols([f"{name:07}" for name in range(names)])
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


def send_client_hello(pair: Pair) -> None:
    """Send the first bytes of a handshake, without waiting."""
    pair.far.sendall(make_hello())


def test_handshake_size_is_limited(pair: Pair) -> None:
    """Faults C1 and C3: a long chain of certificates may follow the hello, and each takes time."""
    connection = pair.take_over()
    pair.far.sendall(make_hello() + record(b"\0" * (MAX_RECORD - 2000), APPLICATION_DATA))
    with pytest.raises(ConnectionResetError):
        connection.handshake(no_checkpoint, no_checkpoint)


@pytest.mark.parametrize(("names", "is_rejected"), [(0, False), (900, False), (1100, True)])
def test_client_hello_size_is_limited(pair: Pair, names: int, is_rejected: bool) -> None:
    """Fault C3: OpenSSL compares all its keys with each other, so that one of 64 KB took 0.1 s."""
    connection = pair.take_over()
    pair.far.sendall(make_hello(names))
    with pytest.raises(ConnectionResetError if is_rejected else InterruptedError):
        connection.handshake(interrupt, no_checkpoint)


def interrupt() -> None:
    """Replace the turn in which a handshake runs."""
    raise InterruptedError


@pytest.mark.parametrize(
    "said",
    [
        record(begin(CLIENT_HELLO, 131_396)),
        record(begin(CLIENT_HELLO, 131_396)[:3]) + record(begin(CLIENT_HELLO, 131_396)[3:]),
        record(make_hello()[5:] + begin(CLIENT_HELLO, 131_396)),
        record(begin(CLIENT_HELLO, 200) + b"\0" * 100),
    ],
    ids=["nine bytes", "in two records", "behind another", "half of it"],
)
def test_declared_size_of_client_hello_does_not_reserve_memory(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    """Fault C2: nine bytes made OpenSSL allocate 150 KB, and 1,800 connections 290 MiB."""
    monkeypatch.setattr(connections, "HANDSHAKE_SECONDS", 0.2)
    connection = pair.take_over()
    pair.far.sendall(said)
    with pytest.raises(ConnectionResetError):
        connection.handshake(no_checkpoint, no_checkpoint)


def test_handshake_does_not_start_before_its_turn(pair: Pair) -> None:
    """Fault C3: a thousand that arrived at once were one pass of the loop."""
    send_client_hello(pair)
    connection = pair.take_over()

    def checkpoint() -> None:
        pair.far.settimeout(0.05)
        with pytest.raises(TimeoutError):
            pair.far.recv(1)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        connection.handshake(checkpoint, no_checkpoint)


def test_handshake_aborted_in_queue_does_not_start(pair: Pair) -> None:
    """Fault C3: evicted connections would still use processor time."""
    send_client_hello(pair)
    connection = pair.take_over()
    with pytest.raises(ConnectionResetError):
        connection.handshake(connection.abort, no_checkpoint)
    assert pair.far.recv(1) == b""


def test_handshake_timed_out_in_queue_does_not_start(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault C3: its client has gone, and other handshakes wait."""
    monkeypatch.setattr(connections, "HANDSHAKE_SECONDS", 0.2)
    send_client_hello(pair)
    connection = pair.take_over()
    with pytest.raises(ClientTimeout):
        connection.handshake(lambda: time.sleep(0.3), no_checkpoint)
    assert not connection._outgoing.pending


CHANGE = record(b"\1", CHANGE_CIPHER_SPEC)


@pytest.mark.parametrize(
    ("said", "is_half"), [(b"", False), (CHANGE, False), (CHANGE + b"\x17\3\3\1\0", True)]
)
def test_partial_record_after_client_hello_is_reported(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, said: bytes, is_half: bool
) -> None:
    """Fault C2: OpenSSL allocates the declared length of an encrypted record, up to 100 KB for a
    certificate.
    """
    monkeypatch.setattr(connections, "HANDSHAKE_SECONDS", 0.2)
    connection = pair.take_over()
    pair.far.sendall(make_hello() + said)
    halves: list[None] = []
    with pytest.raises(TimeoutError):
        connection.handshake(no_checkpoint, lambda: halves.append(None))
    assert bool(halves) == is_half


def test_idle_time_is_not_extended_by_later_records(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault C1: no record extends it; each record must not get a timer of its own."""
    connection, client = pair.open()
    connection.start_idle_timer(20)
    client.sendall(b"G")
    monkeypatch.setattr(connection, "_ends", time.monotonic() - 1)
    with pytest.raises(ClientTimeout):
        connection.recv(8192)


def test_arrived_bytes_are_detected_before_read(pair: Pair) -> None:
    """This includes a part of a record, which OpenSSL does not process yet."""
    connection, client = pair.open()
    client.sendall(b"x")
    assert connection.recv(1) == b"x"
    assert not connection.has_arrived()

    with socket.socket(fileno=os.dup(client.fileno())) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.sendall(b"\x17\3\3\0\x20")
    assert connection.has_arrived()
    connection.start_idle_timer(0.01)
    with pytest.raises(ClientTimeout):
        connection.recv(1)
    assert connection.has_arrived()


def test_closed_connection_has_no_arrived_bytes(pair: Pair) -> None:
    """A client that has gone waits for no answer."""
    connection, _ = pair.open()
    connection.abort()
    assert not connection.has_arrived()


def test_unread_answer_times_out(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that does not read holds a connection only for this time."""
    monkeypatch.setattr(connections, "WRITE_SECONDS", 0.01)
    connection, _ = pair.open()
    waits: list[None] = []
    with pytest.raises(ClientTimeout):
        connection.sendall(b"x" * 8_000_000, lambda: waits.append(None))
    assert waits == [None]


def test_connection_in_handshake_can_be_aborted(pair: Pair) -> None:
    """The waiting greenlet continues at once, although the accepted socket itself was detached."""
    connection = pair.take_over()
    pair.far.sendall(b"\x16")
    connection.abort()
    with pytest.raises(OSError):  # noqa: PT011 - which one depends on what was read before
        connection.handshake(no_checkpoint, no_checkpoint)
    assert connection.aborted


def test_disconnected_client_raises_os_error(pair: Pair) -> None:
    """Another exception would be a traceback."""
    pair.far.send(b"\x16")
    pair.far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    pair.far.close()
    with pytest.raises(OSError):  # noqa: PT011 - which one depends on the moment
        pair.take_over().handshake(no_checkpoint, no_checkpoint)
