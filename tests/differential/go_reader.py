"""The server of Go's net/http, which reads connections from its standard input."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.differential.readings import Reading, Seen
from tests.support.go_build import build

SOURCE = Path(__file__).parent / "go_server"


def go_server() -> Path:
    """Return the built program, or skip the test if ``go`` is not installed."""
    return build_or_skip(SOURCE)


def build_or_skip(source: Path) -> Path:
    """Return the program of a folder, or skip the test if ``go`` is not installed."""
    if shutil.which("go") is None:
        pytest.skip("there is no go to build it")
    program = build(source)
    assert program is not None
    return program


def go_version(program: Path) -> str:
    """Return the version of Go that the program was built with."""
    return subprocess.run([program, "version"], capture_output=True, text=True, check=True).stdout.strip()


def read_by_go(program: Path, inputs: Iterable[bytes]) -> list[Reading]:
    """Return what Go reads of connections that each send one of ``inputs`` and then end their side."""
    lines = b"".join(base64.b64encode(data) + b"\n" for data in inputs)
    done = subprocess.run([program], input=lines, capture_output=True, check=True, timeout=100)
    return [to_reading(json.loads(line)) for line in done.stdout.splitlines()]


def to_reading(result: dict[str, Any]) -> Reading:
    """Return the reading of one line of output."""
    requests = (
        Seen(one["method"], one["target"], one["host"], base64.b64decode(one["body"]))
        for one in result["requests"]
    )
    refusal = str(result["refused"] or "")
    return Reading(tuple(requests), "broken" if result["broken"] else refusal)
