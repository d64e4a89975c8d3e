"""What the installed program holds while it serves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.emulator.server import Emulator
from tests.support.builders import HOST, pod, review
from tests.support.originals import REPORT
from tests.support.process_stats import wait_until
from tests.support.serving import ServerProcess, make_certificate


def inspect_program(emulator: Emulator, folder: Path) -> dict[str, Any]:
    """Return the report of ``tests.support.originals`` from a worker that has answered a review."""
    report = folder / "originals.json"
    with ServerProcess(
        folder,
        emulator.url,
        make_certificate(folder),
        environment={REPORT: str(report)},
        inject="tests.support.originals",
    ) as server:
        assert server.validate(review(pod(f"{HOST}/shop/web:1.0")))["allowed"]
        report.with_suffix(".ask").touch()
        assert wait_until(report.exists)
    answer: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return answer
