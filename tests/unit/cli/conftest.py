"""Fixtures of commands that query SWR: a policy in front of the emulator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.emulator.server import Emulator
from tests.support.serving import POLICY

WritePolicy = Callable[[str], Path]


@pytest.fixture
def write_policy(emulator: Emulator, tmp_path: Path) -> WritePolicy:
    """Return a function that writes a policy: the emulator's registry, then the given lines."""
    token = tmp_path / "token"
    token.write_text("emulator-token\n", encoding="utf-8")

    def write(lines: str = "") -> Path:
        path = tmp_path / "policy.yaml"
        path.write_text(POLICY.format(endpoint=emulator.url, token=token) + lines, encoding="utf-8")
        return path

    return write
