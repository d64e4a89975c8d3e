"""The tools of ``make bench`` work; its figures are measured by ``make bench`` alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.bench.floor import FloorProcess
from tests.bench.load import GO_SOURCE, PYTHON_CLIENT, Load, run_load
from tests.bench.peer import PeerProcess, build_peer
from tests.emulator.server import Emulator
from tests.support.builders import HOST, pod, review
from tests.support.go_build import build
from tests.support.serving import Certificate, ServerProcess, make_certificate

pytestmark = pytest.mark.slow

NO_GO = "there is no go to build it"


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path)


@pytest.fixture
def body(tmp_path: Path) -> Path:
    return _write(tmp_path, review(pod(f"{HOST}/shop/web:1.0")))


@pytest.fixture(params=["Go", "Python"])
def client(request: pytest.FixtureRequest) -> Sequence[str]:
    """Both clients; the one in Go is used if it can be built."""
    if request.param == "Python":
        return PYTHON_CLIENT
    program = build(GO_SOURCE)
    if program is None:
        pytest.skip(NO_GO)
    return (str(program),)


def test_client_counts_requests_of_webhook(
    tmp_path: Path, emulator: Emulator, certificate: Certificate, body: Path, client: Sequence[str]
) -> None:
    with ServerProcess(tmp_path, emulator.url, certificate) as server:
        _check(run_load(server.port, certificate.ca, body, connections=2, seconds=0.2, client=client))


@pytest.mark.parametrize("worker", ["gevent", "gthread", "loop"])
def test_baseline_in_python_admits(tmp_path: Path, certificate: Certificate, body: Path, worker: str) -> None:
    with FloorProcess(tmp_path, certificate, worker) as floor:
        _check(run_load(floor.port, certificate.ca, body, connections=2, seconds=0.2))


@pytest.mark.parametrize("processors", [None, 1])
def test_baseline_in_go_admits(certificate: Certificate, body: Path, processors: int | None) -> None:
    program = build_peer()
    if program is None:
        pytest.skip(NO_GO)
    with PeerProcess(program, certificate, processors) as peer:
        _check(run_load(peer.port, certificate.ca, body, connections=2, seconds=0.2))


def test_client_fails_if_body_is_not_a_review(
    tmp_path: Path, certificate: Certificate, client: Sequence[str]
) -> None:
    """A server that rejects all requests quickly would be measured otherwise."""
    wrong = _write(tmp_path, b"{}")
    with (
        FloorProcess(tmp_path, certificate, "gevent") as floor,
        pytest.raises(AssertionError, match="500 INTERNAL SERVER ERROR"),
    ):
        run_load(floor.port, certificate.ca, wrong, connections=2, seconds=0.2, client=client)


def test_client_fails_if_review_is_denied(
    tmp_path: Path, emulator: Emulator, certificate: Certificate, client: Sequence[str]
) -> None:
    """Denying may cost less than admitting."""
    denied = _write(tmp_path, review(pod("docker.io/library/nginx:1")))
    with (
        ServerProcess(tmp_path, emulator.url, certificate) as server,
        pytest.raises(AssertionError, match="does not admit"),
    ):
        run_load(server.port, certificate.ca, denied, connections=2, seconds=0.2, client=client)


def _check(load: Load) -> None:
    assert load.all_requests >= load.requests > 1
    assert 0 < load.median <= load.p99


def _write(folder: Path, content: bytes) -> Path:
    path = folder / "body.json"
    path.write_bytes(content)
    return path
