"""What the tests on a real API server share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chart.installation import TEAM, redirect_services
from tests.controlplane import ControlPlane
from tests.emulator.server import Emulator


@pytest.fixture(scope="session")
def cluster(control_plane: ControlPlane) -> ControlPlane:
    """The API server, with Services that lead to the loopback address and a namespace of a team."""
    redirect_services(control_plane)
    control_plane.make_namespace(TEAM)
    return control_plane


@pytest.fixture(scope="session")
def swr() -> Iterator[Emulator]:
    """One emulator for all tests."""
    with Emulator() as running:
        yield running
