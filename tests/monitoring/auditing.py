"""The audit in the cluster with findings, in front of the test's own API server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import webhook.app.audit_process
from tests.emulator.server import Emulator
from tests.support.builders import HOST
from tests.support.rescanning import Rescanner, marked
from tests.unit.cluster.lists import FakeCluster, pod


@contextmanager
def audited(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rescanner]:
    """Run two rounds, the second after an image has lost its trust, and serve their metrics."""
    folder = folder / "audit"
    folder.mkdir()
    images = {"web": "shop/web:1.0", "api": "shop/api:1.4", "old": "shop/web:2.0", "gone": "shop/web:9.9"}
    cluster = FakeCluster(
        [pod(name, "shop", f"{HOST}/{image}") for name, image in images.items()], reports=True
    )
    monkeypatch.setattr(webhook.app.audit_process, "connect", lambda *_: cluster)
    with Emulator() as emulator, Rescanner(folder, emulator.url, folder / "none", report_owner="") as made:
        made.process.server.start()
        assert made.round(), made.said()
        with marked(emulator, "shop/web:1.0", trusted=False):
            made.forget()
            assert made.round(), made.said()
        made.write_events()
        yield made
