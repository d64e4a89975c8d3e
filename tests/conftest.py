"""Fixtures for all tests, and rules that apply to every test."""

from __future__ import annotations

# First, before any other import.
import tests.support.patched  # noqa: F401  # isort: skip

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.controlplane import ControlPlane
from tests.emulator.server import Emulator
from tests.support.serving import ServerProcess, make_certificate

_ASSETS = "KUBEBUILDER_ASSETS"

# The time to draw or evaluate an input depends more on the machine than on the code.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Hide the proxies, credentials and home directory of the machine from every test."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith(("HUAWEICLOUD_", "HC_CONTAINER_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path_factory.getbasetemp()))


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """Return an emulator of SWR with the images of ``seed.yaml``."""
    with Emulator() as running:
        yield running


@pytest.fixture
def server(emulator: Emulator, tmp_path: Path) -> Iterator[ServerProcess]:
    """Return the webhook in its own process, in front of the emulator."""
    with ServerProcess(tmp_path, emulator.url, make_certificate(tmp_path)) as running:
        yield running


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Return a real API server with controllers, shared by the whole run."""
    assets = os.environ.get(_ASSETS)
    if not assets:
        pytest.skip(f"{_ASSETS} names no folder with etcd and kube-apiserver")
    with ControlPlane(Path(assets), tmp_path_factory.mktemp("control-plane")) as running:
        yield running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that needs the API server."""
    for item in items:
        if "control_plane" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.cluster)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report prominently that the tests against a real API server were skipped."""
    skipped = [
        report for report in terminalreporter.stats.get("skipped", []) if _ASSETS in str(report.longrepr)
    ]
    if skipped:
        terminalreporter.write_sep(
            "!", f"{len(skipped)} tests against a real kube-apiserver were SKIPPED: set {_ASSETS}", red=True
        )
