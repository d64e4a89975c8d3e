"""The tools of ``make bench`` work; its figures are measured by ``make bench`` alone."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.bench.floor import FloorProcess
from tests.bench.load import run_load
from tests.emulator.server import Emulator
from tests.support.builders import HOST, pod, review
from tests.support.serving import ServerProcess, make_certificate

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("served_by", ["the webhook", "ours", "gthread"])
def test_load_generator_counts_requests(tmp_path: Path, emulator: Emulator, served_by: str) -> None:
    """It is a program of its own, and so is each baseline."""
    certificate = make_certificate(tmp_path)
    body = tmp_path / "body.json"
    body.write_bytes(review(pod(f"{HOST}/shop/web:1.0")))
    with ExitStack() as stack:
        if served_by == "the webhook":
            port = stack.enter_context(ServerProcess(tmp_path, emulator.url, certificate)).port
        else:
            port = stack.enter_context(FloorProcess(tmp_path, certificate, served_by)).port
        load = run_load(port, certificate.ca, body, connections=2, seconds=0.2)
    assert load.requests > 1
    assert 0 < load.median <= load.p99
