"""The audit in the cluster with something to show, in front of an API server of the test's own."""

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
    """Make two rounds, in the second of which an image has lost its trust, and serve what they found."""
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
