"""Builds programs in Go, if ``go`` is installed."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.support.serving import ROOT

CACHE = ROOT / ".run" / "go-build"
"""The compiler's cache. Its own default is in the home directory, which tests hide."""


@functools.cache
def build(source: Path) -> Path | None:
    """Return the program that is built from a folder, ``None`` if it cannot be built here.

    It is built once per process and removed at exit. It has no dependencies, so nothing is downloaded.
    """
    go = shutil.which("go")
    if go is None:
        return None
    target = _folder() / source.name
    environment = {
        "GOCACHE": str(CACHE),
        **os.environ,
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-buildvcs=false",
    }
    command = [go, "build", "-o", str(target), "."]
    done = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, timeout=600)
    if done.returncode:
        print(f"go could not build {source.name}: {done.stderr.strip()[-500:]}")
        return None
    return target


@functools.cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="go-build-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
