"""Bursts of small requests: what arrives at the same moment is answered in many passes of the loop."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import HOST, pod, review
from tests.emulator.server import Emulator
from tests.http.wire import shake_hands
from tests.serving import ServerProcess, make_certificate

pytestmark = pytest.mark.slow

CROWD = 800
IN_A_ROW = 6

STALL = 0.5
"""Seconds by the clock: a tenth of it on a quiet machine, several times as much where a burst is one pass."""

TRIES = 3

SMALL = review(pod(f"{HOST}/shop/web:1.0"))
REVIEW = (
    b"POST /validate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    % len(SMALL)
)


@contextlib.contextmanager
def serve(emulator: Emulator, folder: Path) -> Iterator[ServerProcess]:
    """Start a webhook that has answered a cached review before."""
    folder.mkdir()
    with ServerProcess(folder, emulator.url, make_certificate(folder), "cache: {trusted: 1h}\n") as running:
        assert running.validate(SMALL)["allowed"]
        yield running


def burst(server: ServerProcess, request: bytes) -> None:
    """Let a crowd send many requests each, all at once, and read all answers."""
    context = server.context()
    data = request * IN_A_ROW
    with contextlib.ExitStack() as stack:
        crowd: list[ssl.SSLSocket] = []
        for _ in range(CROWD):
            connection = stack.enter_context(shake_hands(server, context))
            connection.sendall(data[:1])
            crowd.append(connection)
        for connection in crowd:
            connection.sendall(data[1:])
        for connection in crowd:
            answers = b""
            while answers.count(b"HTTP/1.1 ") < IN_A_ROW:
                part = connection.recv(65536)
                assert part
                answers += part


@pytest.mark.parametrize(
    "request_", [b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", REVIEW + SMALL], ids=["probe", "review"]
)
def test_a_burst_of_small_requests_holds_up_nobody(
    emulator: Emulator, tmp_path: Path, request_: bytes
) -> None:
    """Fault C3: each of them took no more than half a millisecond, and all of them were one pass."""
    longest = 0.0
    for number in range(TRIES):
        with serve(emulator, tmp_path / str(number)) as server:
            burst(server, request_)
            longest = server.metric("swr_trust_loop_stall_seconds")
        if longest < STALL:
            break
    assert longest < STALL
