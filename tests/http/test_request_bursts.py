"""Bursts of small requests are spread over many passes of the loop."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.emulator.server import Emulator
from tests.http.wire import connect, handshake
from tests.support.builders import HOST, pod, review
from tests.support.serving import Certificate, ServerProcess, make_certificate

pytestmark = pytest.mark.slow

CROWD = 800
SLOW_CROWD = 400

STALL = 0.5
"""Seconds by the clock: a tenth of it on a quiet machine, several times as much if a burst is one pass."""

TRIES = 3

SMALL = review(pod(f"{HOST}/shop/web:1.0"))
TINY_CHUNKS = (
    b"POST /validate HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"1\r\nx\r\n" * 1500
    + b"0\r\n\r\n"
)
"""A request that is read in one piece, and takes two to five milliseconds."""

REVIEW = (
    b"POST /validate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    % len(SMALL)
)


@contextlib.contextmanager
def serve(emulator: Emulator, folder: Path) -> Iterator[ServerProcess]:
    """Start a webhook that has already answered a cached review."""
    folder.mkdir()
    with ServerProcess(folder, emulator.url, make_certificate(folder), "cache: {trusted: 1h}\n") as running:
        assert running.validate(SMALL)["allowed"]
        yield running


def burst(server: ServerProcess, request: bytes, in_a_row: int) -> None:
    """Let many clients send several requests each at once, and read all answers."""
    context = server.context()
    data = request * in_a_row
    with contextlib.ExitStack() as stack:
        crowd: list[ssl.SSLSocket] = []
        for _ in range(CROWD):
            connection = stack.enter_context(handshake(server, context))
            connection.sendall(data[:1])
            crowd.append(connection)
        for connection in crowd:
            connection.sendall(data[1:])
        for connection in crowd:
            answers = b""
            while answers.count(b"HTTP/1.1 ") < in_a_row:
                part = connection.recv(65536)
                assert part
                answers += part


def write_slow_certificate(folder: Path) -> Certificate:
    """Write a self-signed certificate whose key takes milliseconds to sign."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=4096)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    files = Certificate(folder / "tls.crt", folder / "tls.key", folder / "tls.crt")
    files.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


def send_client_hellos(server: ServerProcess) -> None:
    """Let many clients start a handshake at once, and read the answers."""
    hellos: list[tuple[socket.socket, bytes]] = []
    with contextlib.ExitStack() as stack:
        for _ in range(SLOW_CROWD):
            outgoing = ssl.MemoryBIO()
            tls = server.context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="127.0.0.1")
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
            hellos.append((stack.enter_context(connect(server)), outgoing.read()))
        for connection, hello in hellos:
            connection.sendall(hello)
        for connection, _ in hellos:
            assert connection.recv(1)


def test_burst_of_handshakes_does_not_stall_loop(emulator: Emulator, tmp_path: Path) -> None:
    """Fault C3: each takes one signature, 4 ms with such a key, and all of them were one pass."""
    longest = 0.0
    files = write_slow_certificate(tmp_path)
    for _ in range(TRIES):
        with ServerProcess(tmp_path, emulator.url, files) as server:
            send_client_hellos(server)
            longest = server.metric("swr_trust_loop_stall_seconds")
        if longest < STALL:
            break
    assert longest < STALL


@pytest.mark.parametrize(
    ("request_", "in_a_row"),
    [(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 30), (REVIEW + SMALL, 6)],
    ids=["probe", "review"],
)
def test_burst_of_small_requests_does_not_stall_loop(
    emulator: Emulator, tmp_path: Path, request_: bytes, in_a_row: int
) -> None:
    """Fault C3: each of them took at most half a millisecond, and all of them were one pass.

    As many as fit into one read of a connection are a pass of that connection.
    """
    longest = 0.0
    for number in range(TRIES):
        with serve(emulator, tmp_path / str(number)) as server:
            burst(server, request_, in_a_row)
            longest = server.metric("swr_trust_loop_stall_seconds")
        if longest < STALL:
            break
    assert longest < STALL


def test_burst_of_tiny_chunks_does_not_stall_loop(emulator: Emulator, tmp_path: Path) -> None:
    """Fault C3: 1,500 clients with a few kilobytes each stalled it for three seconds, in one pass."""
    longest = 0.0
    for number in range(TRIES):
        with serve(emulator, tmp_path / str(number)) as server:
            burst(server, TINY_CHUNKS, in_a_row=1)
            longest = server.metric("swr_trust_loop_stall_seconds")
        if longest < STALL:
            break
    assert longest < STALL
