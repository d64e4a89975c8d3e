"""TLS records without data do not stall the loop."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulator.server import Emulator
from tests.http.key_updates import Client
from tests.http.loop_monitor import REPORT, read_turns
from tests.support.builders import HOST, pod, review
from tests.support.process_stats import wait_until
from tests.support.serving import ServerProcess, make_certificate
from webhook.server.connections import MAX_EMPTY_RECORDS

pytestmark = pytest.mark.slow

FLOOD = 100_000
"""Key updates, 2.7 MB. OpenSSL processes them at once in a second or two."""

LONGEST = 0.25
"""Seconds of processor time within which no machine can process a quarter of them."""

PROBE = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """Return the file in which the turns of the loop are recorded."""
    return tmp_path / "turns"


@pytest.fixture
def server(emulator: Emulator, tmp_path: Path, report: Path) -> Iterator[ServerProcess]:
    """Return a webhook with a monitored loop."""
    files = make_certificate(tmp_path)
    with ServerProcess(
        tmp_path, emulator.url, files, environment={REPORT: str(report)}, inject="tests.http.loop_monitor"
    ) as running:
        assert running.validate(review(pod(f"{HOST}/shop/web:1.0")))["allowed"]
        yield running


@pytest.mark.parametrize("beginning", [b"", PROBE[:5]], ids=["before a request", "within a request"])
def test_endless_tls_key_updates_do_not_stall_loop(
    server: ServerProcess, report: Path, tmp_path: Path, beginning: bytes
) -> None:
    """Fault C1: a connection that sent only key updates stalled the loop for 1.2 s, five of them for
    6.8 s.
    """
    client = Client(server, tmp_path)
    records = client.make_data(beginning) if beginning else b""
    records += b"".join(client.make_update() for _ in range(FLOOD)) + client.make_data(
        PROBE[len(beginning) :]
    )
    report.write_text("", encoding="utf-8")
    with contextlib.suppress(OSError):  # it is aborted in the meantime
        client.socket.sendall(records)
    assert server.validate(review(pod(f"{HOST}/shop/web:1.0")))["allowed"]
    answer = b""
    with contextlib.suppress(OSError):
        answer = client.read_answer()
    assert answer == b""
    stage = "request" if beginning else "idle"
    assert wait_until(lambda: server.metric("swr_trust_connections_cut_total", stage=stage) == 1)
    client.close()
    turns = read_turns(report)
    assert not turns or turns[0][0] < LONGEST, turns[0]


def test_client_with_occasional_key_updates_is_served(server: ServerProcess, tmp_path: Path) -> None:
    """Fault C1: within a request and between two, also if the server is asked to update its key."""
    client = Client(server, tmp_path)
    for _ in range(MAX_EMPTY_RECORDS // 2):
        client.socket.sendall(client.make_data(PROBE[:9]) + client.make_update(wants_another=True))
        client.socket.sendall(client.make_update() + client.make_data(PROBE[9:]) + client.make_update())
        assert b"200 OK" in client.read_answer()
    client.close()
