"""Fixtures of the tests of the chart on a real API server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Protocol

import pytest

from tests.chart.installation import TEAM, Installation, redirect_services
from tests.controlplane import ControlPlane
from tests.emulator.server import Emulator


@pytest.fixture(scope="session")
def cluster(control_plane: ControlPlane) -> ControlPlane:
    """Return the API server, with Services that lead to the loopback address and a namespace of a team."""
    redirect_services(control_plane)
    control_plane.make_namespace(TEAM)
    return control_plane


@pytest.fixture(scope="session")
def swr() -> Iterator[Emulator]:
    """Return one emulator for all tests."""
    with Emulator() as running:
        yield running


class Prepare(Protocol):
    """Creates a release in a namespace of its own, not yet installed."""

    def __call__(self, namespace: str, changes: dict[str, Any] | None = None) -> Installation: ...


@pytest.fixture
def prepare(cluster: ControlPlane, swr: Emulator) -> Iterator[Prepare]:
    """Remove the releases of a test afterwards, because a webhook would disturb all other tests."""
    with ExitStack() as releases:

        def make(namespace: str, changes: dict[str, Any] | None = None) -> Installation:
            return releases.enter_context(Installation(cluster, namespace, swr.url, changes))

        yield make
