"""The exposed metrics pass Prometheus's own linter."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.demo import SAMPLES, review
from tests.monitoring.auditing import audited
from tests.support.serving import ServerProcess

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is absent; it comes with Prometheus"
)


@needs_promtool
def test_webhook_metrics_pass_promtool(server: ServerProcess) -> None:
    """Names, units, types and help, with samples in them."""
    for sample in SAMPLES:
        server.validate(review(sample.spec))
        server.mutate(review(sample.spec))
    status, body = server.get("/metrics")
    assert status == 200
    _check(body)


@needs_promtool
def test_audit_metrics_pass_promtool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for the audit process."""
    with audited(tmp_path, monkeypatch) as rescanner:
        _check(rescanner.process.metrics.render())


def _check(body: bytes) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=body, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
