"""Memory that the process keeps for requests after they are answered."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulator.server import Emulator
from tests.support.builders import HOST, pod, review
from tests.support.process_stats import find_worker, read_process_stats
from tests.support.serving import ServerProcess, make_certificate

pytestmark = pytest.mark.slow

CONNECTIONS = 40
LARGE = 6 * 1024 * 1024


@pytest.fixture
def server(emulator: Emulator, tmp_path: Path) -> Iterator[ServerProcess]:
    """Start the installed program in front of an emulator."""
    with ServerProcess(tmp_path, emulator.url, make_certificate(tmp_path)) as running:
        yield running


@pytest.mark.parametrize(("method", "path"), [("POST", "/validate?timeout=10s"), ("PUT", "/validate")])
def test_idle_connection_after_large_request_keeps_no_body(
    server: ServerProcess, method: str, path: str
) -> None:
    """Fault C2: an idle connection kept the body of its last request, even a body that was never read."""
    body = review(pod(f"{HOST}/team/app:1.0")).ljust(LARGE)
    worker = find_worker(server)
    before = 0.0
    with contextlib.ExitStack() as stack:
        for index in range(CONNECTIONS):
            connection = stack.enter_context(contextlib.closing(server.connect()))
            connection.request(method, path, body, {"Content-Type": "application/json"})
            connection.getresponse().read()
            if index == 0:
                before = read_process_stats(worker).resident
        kept = read_process_stats(worker).resident - before

    assert kept < CONNECTIONS * LARGE / 2**20 / 4
