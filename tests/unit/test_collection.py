"""The suite itself: every test is collected on a machine that has Python and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.serving import ROOT


@pytest.mark.slow
def test_suite_is_collected_without_any_tool(tmp_path: Path) -> None:
    """Fault A3: one module that ran Helm while it was collected ended the whole run."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "--quiet"],
        cwd=ROOT,
        env={"PATH": str(tmp_path), "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    collected = {line.partition(":")[0] for line in done.stdout.splitlines() if ".py: " in line}
    assert collected == {str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py")}
