"""Kernel buffers of connections, which count as memory of the container."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import pytest

from tests.emulator.server import Emulator
from tests.http.slow_reader import (
    ESTABLISHED,
    FIN_WAIT_1,
    connect_slow_reader,
    read_socket_queues,
    send_until_blocked,
)
from tests.http.wire import handshake
from tests.support.builders import HOST, pod, review
from tests.support.process_stats import wait_until
from tests.support.serving import ServerProcess, make_certificate
from webhook.server.exchange import JSON
from webhook.server.worker import BUFFER

pytestmark = [pytest.mark.slow, pytest.mark.alone]

MOST = 2 * BUFFER
MOST_OF_AN_ANSWER = 8 * BUFFER
"""The kernel looks at the size before it begins with a piece, of which some are as large as a page of metrics."""

PAGE = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
CLOSING = PAGE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


def test_unread_request_data_in_kernel_is_bounded(emulator: Emulator, tmp_path: Path) -> None:
    """Fault C2: a review that waited for SWR had 121 KiB behind it, a large one 0.8 MiB, and no budget
    counted them.
    """
    body = review(pod(f"{HOST}/shop/web:1.0"))
    head = (
        f"POST /validate HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    certificate = make_certificate(tmp_path)
    with ServerProcess(tmp_path, emulator.url, certificate, "lookup: {timeout: 20s}\n") as server:
        emulator.set_latency(6.0)
        with handshake(server) as connection:
            connection.sendall(head.encode() + body)
            assert wait_until(lambda: server.metric("swr_trust_admission_requests_in_flight") == 1)
            with socket.socket(fileno=os.dup(connection.fileno())) as raw, contextlib.suppress(TimeoutError):
                raw.settimeout(0.5)
                for _ in range(1000):
                    raw.sendall(b"\x17\x03\x03\x40\x00" + b"x" * 16384)
            unread = max(queues.unread for queues in read_socket_queues(server))
    assert 0 < unread <= MOST


def test_unsent_responses_in_kernel_are_bounded(server: ServerProcess) -> None:
    """Fault C2: the kernel buffered as much as a reading client would receive in a second."""
    with connect_slow_reader(server, server.context()) as connection:
        send_until_blocked(connection, PAGE, 2000)
        unsent = max(queues.unsent for queues in read_socket_queues(server) if queues.state == ESTABLISHED)
    assert 0 < unsent <= MOST


def test_unsent_responses_after_large_reads_are_bounded(server: ServerProcess) -> None:
    """Fault C2: the kernel buffers more for a client that has read much: 1 MB and more."""
    with handshake(server) as connection:
        connection.sendall(PAGE * 20)
        connection.settimeout(1.0)
        with contextlib.suppress(TimeoutError):
            while connection.recv(65536):
                pass
        send_until_blocked(connection, PAGE, 20_000)
        unsent = max(queues.unsent for queues in read_socket_queues(server) if queues.state == ESTABLISHED)
    assert 0 < unsent <= MOST_OF_AN_ANSWER


def test_unsent_response_is_discarded_soon_after_close(server: ServerProcess) -> None:
    """Fault C2: a page was kept for two minutes for a client that requested it, let us close and read
    nothing.
    """
    with connect_slow_reader(server, server.context()) as connection:
        connection.sendall(CLOSING)

        def is_kept() -> bool:
            return any(queues.state == FIN_WAIT_1 and queues.unsent for queues in read_socket_queues(server))

        assert wait_until(is_kept, 10)
        assert wait_until(lambda: not is_kept(), 15)
