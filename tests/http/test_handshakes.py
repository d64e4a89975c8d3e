"""Incomplete handshakes: OpenSSL allocates the length that a client declares."""

from __future__ import annotations

import contextlib
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from tests.emulator.server import Emulator
from tests.http.wire import connect
from tests.support.process_stats import find_worker, read_process_stats, wait_until
from tests.support.serving import ServerProcess, make_certificate
from webhook.server.connection_table import MAX_PENDING_HANDSHAKES
from webhook.server.gunicorn_server import CONNECTIONS

pytestmark = pytest.mark.slow

CROWD: Final = 1200
HELD: Final = 160 / 1024
"""Mebibytes for partial certificates."""

MOST: Final = CONNECTIONS * MAX_PENDING_HANDSHAKES * HELD * 1.3

HALF: Final = b"\x16\3\3\0\4\x0b" + (100 * 1024).to_bytes(3)
"""The beginning of a certificate with the greatest length for which OpenSSL allocates memory."""


def make_hello() -> bytes:
    """Return a ClientHello of TLS 1.2, after which nothing is encrypted yet."""
    context, outgoing = ssl.create_default_context(), ssl.MemoryBIO()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


def send_partial_handshake(server: ServerProcess, hello: bytes) -> socket.socket:
    """Start a handshake, and declare the length of the certificate."""
    connection = connect(server)
    connection.sendall(hello)
    assert connection.recv(65536)
    connection.sendall(HALF)
    return connection


def test_partial_handshakes_stay_within_memory_limit(emulator: Emulator, tmp_path: Path) -> None:
    """Fault C2: no budget counted them; 1,700 connections held 230 MiB with nine bytes each after the
    hello.
    """
    files = make_certificate(tmp_path)
    arguments, hello = ("--client-ca", str(files.ca)), make_hello()
    with ServerProcess(tmp_path, emulator.url, files, arguments=arguments) as server:
        worker = find_worker(server)
        before = read_process_stats(worker).resident
        with ThreadPoolExecutor(8) as threads:
            opened = list(threads.map(lambda _: send_partial_handshake(server, hello), range(CROWD)))
        cut = CROWD - CONNECTIONS * MAX_PENDING_HANDSHAKES
        assert wait_until(lambda: server.metric("swr_trust_connections_cut_total", stage="full") >= cut)
        assert read_process_stats(worker).resident - before < MOST
        for connection in opened:
            connection.close()
