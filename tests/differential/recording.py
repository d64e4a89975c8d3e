"""What Go read of each case, for machines without Go."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any, Final

from tests.differential.cases import CASES
from tests.differential.go_reader import go_version, read_by_go
from tests.differential.readings import Reading, Seen

RECORDED: Final = Path(__file__).parents[1] / "data" / "http" / "go_readings.json"
REFRESH: Final = "python -m tests.differential"


def record(program: Path) -> None:
    """Write what Go reads of all cases."""
    cases = {
        name: {
            "sent": data.decode("latin-1"),
            "requests": [_to_list(seen) for seen in reading.requests],
            "refusal": reading.refusal,
        }
        for (name, data), reading in zip(CASES.items(), read_by_go(program, CASES.values()), strict=True)
    }
    RECORDED.parent.mkdir(exist_ok=True)
    text = json.dumps({"go": go_version(program), "cases": cases}, indent=1)
    RECORDED.write_text(f"{text}\n", encoding="utf-8")


def recorded_inputs() -> dict[str, bytes]:
    """Return the bytes of each case for which a reading is recorded."""
    return {name: case["sent"].encode("latin-1") for name, case in _load().items()}


@functools.cache
def recorded_readings() -> dict[str, Reading]:
    """Return what Go read of each case."""
    return {
        name: Reading(tuple(_to_seen(*one) for one in case["requests"]), case["refusal"])
        for name, case in _load().items()
    }


def _load() -> dict[str, Any]:
    cases: dict[str, Any] = json.loads(RECORDED.read_text(encoding="utf-8"))["cases"]
    return cases


def _to_list(seen: Seen) -> list[str]:
    return [seen.method, seen.target, seen.host, seen.body.decode("latin-1")]


def _to_seen(method: str, target: str, host: str, body: str) -> Seen:
    return Seen(method, target, host, body.encode("latin-1"))
