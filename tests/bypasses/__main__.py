"""``make defences``: apply each mistake to a copy of the repository and check that its test fails.

python -m tests.bypasses [CASE...]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bypasses.catalogue import MISTAKES
from tests.bypasses.mistakes import Edit, Mistake

ROOT = Path(__file__).parents[2]
TEST_FAILED = 1
"""Pytest's exit code for failed tests; other codes mean that the tests did not run."""


def main(cases: list[str]) -> int:
    """Try the mistakes of these cases, or all; the exit code is 1 if a mistake was not detected."""
    unnoticed = 0
    chosen = [item for item in MISTAKES if not cases or set(cases) & set(item.cases)]
    with tempfile.TemporaryDirectory(prefix="defences-") as folder:
        copy = Path(folder)
        for name in ("webhook", "tests", "charts"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        for item in chosen:
            code, output = _try(copy, item)
            seen = code == TEST_FAILED
            unnoticed += not seen
            print(f"{'seen  ' if seen else 'MISSED'}  {' '.join(item.cases)}: {item.mistake}", flush=True)
            if not seen:
                print(f"        {item.test} ended with {code}\n{output}")
    print(f"{len(chosen) - unnoticed} of {len(chosen)} mistakes were seen")
    return min(unnoticed, 1)


def _try(copy: Path, item: Mistake) -> tuple[int, str]:
    kept = {edit.path: (copy / edit.path).read_text(encoding="utf-8") for edit in item.edits}
    try:
        for edit in item.edits:
            apply(copy, edit)
        command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "--timeout", "60", item.test]
        environment = {**os.environ, "PYTHONPATH": str(copy)}
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=300)
        return done.returncode, done.stdout[-2000:] + done.stderr[-2000:]
    finally:
        for path, text in kept.items():
            (copy / path).write_text(text, encoding="utf-8")


def apply(root: Path, edit: Edit) -> None:
    """Apply an edit; the old text must occur exactly once."""
    path = root / edit.path
    text = path.read_text(encoding="utf-8")
    if text.count(edit.old) != 1:
        raise SystemExit(f"{edit.path} holds {text.count(edit.old)} times: {edit.old!r}")
    path.write_text(text.replace(edit.old, edit.new), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
