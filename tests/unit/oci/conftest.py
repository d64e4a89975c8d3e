"""The environment of tests over real connections."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulator.server import Emulator
from tests.support.registries import write_docker_config
from tests.support.registry_environment import IMAGE, RegistryEnvironment


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[RegistryEnvironment]:
    """Return a registry, object storage and a client that is logged in."""
    with Emulator() as emulator, Emulator(emulator.state) as storage:
        digest = emulator.state.put_image(f"{IMAGE}:1")
        login = tmp_path / "config.json"
        write_docker_config(login, {emulator.url: ("robot", "emulator-password")})
        yield RegistryEnvironment(emulator, storage, login, digest)
