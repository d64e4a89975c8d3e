"""Request heads at their limits: 2,000 connections may send one each, and the body budget does not count
them.
"""

from __future__ import annotations

import contextlib
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.emulator.server import Emulator
from tests.http.wire import handshake
from tests.support.process_stats import find_worker, read_process_stats, wait_until
from tests.support.serving import ServerProcess, make_certificate
from webhook.server.heads import MAX_FIELD, MAX_FIELDS, MAX_HEAD

pytestmark = pytest.mark.slow

CROWD = 400
MOST = 48.0
"""Mebibytes for all of them: 12 for TLS, 13 for heads that are held three times, and the rest for the
allocator.
"""

CUT = "swr_trust_connections_cut_total"


def head(fields: int, size: int) -> bytes:
    """Return the beginning of a request with so many fields of so many bytes."""
    lines = (f"X-{number:02}: ".ljust(size - 2, "x") for number in range(fields))
    return "\r\n".join(("POST /validate HTTP/1.1", "Host: x", *lines, "X")).encode()


@pytest.mark.parametrize(
    ("part", "is_closed"),
    [
        (head(46, 8180), True),
        (head(MAX_FIELDS - 2, MAX_FIELD), True),
        (head(1, MAX_FIELD) + b"y" * (MAX_HEAD - MAX_FIELD - 100), False),
    ],
    ids=["long fields", "the most fields", "what may be sent"],
)
def test_unterminated_request_heads_stay_within_memory_budget(
    emulator: Emulator, tmp_path: Path, part: bytes, is_closed: bool
) -> None:
    """Fault C2: 800 connections with 46 fields of 8 kB and no end held 732 MiB, for as long as a request may
    take.
    """
    with ServerProcess(tmp_path, emulator.url, make_certificate(tmp_path)) as server:
        worker, context = find_worker(server), server.context()
        assert server.get("/healthz")[0] == 200
        before = read_process_stats(worker).resident

        def send(_: int) -> socket.socket:
            connection = handshake(server, context)
            with contextlib.suppress(OSError):  # it is answered and closed in the meantime
                connection.sendall(part)
            return connection

        with ThreadPoolExecutor(8) as threads:
            opened = list(threads.map(send, range(CROWD)))
        held = read_process_stats(worker).resident - before
        if is_closed:
            wait_until(lambda: server.metric(CUT, stage="malformed") == CROWD)
        assert max(held, read_process_stats(worker).resident - before) < MOST
        assert server.metric(CUT, stage="malformed") == (CROWD if is_closed else 0)
        for connection in opened:
            connection.close()
