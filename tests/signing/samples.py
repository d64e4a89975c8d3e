"""Signatures that cosign 2.6.5, cosign 3.1.3 and other tools made, good and bad, each with the expected result.

They are in ``tests/data/signatures/samples.json``. ``python -m tests.signing.samples FOLDER`` writes it again from
the samples of the signing kit.
"""

from __future__ import annotations

import functools
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.signing.making import sha256
from tests.signing.storing import Repository
from tests.support.serving import ROOT

STORED = ROOT / "tests/data/signatures/samples.json"


@dataclass(frozen=True)
class Sample:
    """One image, and what a registry holds of it."""

    name: str
    why: str
    image: str

    key: str
    """The name of the key in the file."""

    annotations: tuple[tuple[str, str], ...]
    is_valid: bool

    other_result_is_safe: bool
    """Whether the expected result is this project's choice: the other one would not admit an unsigned image."""

    repository: Repository


@functools.cache
def stored() -> dict[str, Any]:
    """Return the content of the file."""
    content: dict[str, Any] = json.loads(STORED.read_text(encoding="utf-8"))
    return content


def read_keys() -> dict[str, bytes]:
    """Return the public keys by name."""
    return {name: "\n".join((*lines, "")).encode() for name, lines in stored()["keys"].items()}


def read_samples() -> list[Sample]:
    """Return all samples."""
    return [_read(name, case) for name, case in stored()["cases"].items()]


def _read(name: str, case: dict[str, Any]) -> Sample:
    repository = Repository()
    for path, (content, media_type) in case["serves"].items():
        repository.served[path] = stored()["contents"][content].encode(), media_type
    return Sample(
        name,
        case["why"],
        case["image"],
        case["key"],
        tuple(case.get("annotations", {}).items()),
        case["expected"] == "valid",
        case.get("other_verdict_is_safe", False),
        repository,
    )


def convert(folder: Path) -> str:
    """Return the content of the file for the samples in a folder of the kit."""
    keys, contents, cases = {}, {}, {}
    for path in sorted(folder.glob("cases/*/case.json")):
        case = json.loads(path.read_text(encoding="utf-8"))
        key = Path(case["key"])
        keys[key.stem.removeprefix("TEST-ONLY-")] = (folder / key).read_text(encoding="utf-8").splitlines()
        serves = {}
        for place, served in case["serves"].items():
            content = (path.parent / served["file"]).read_bytes()
            number = sha256(content).removeprefix("sha256:")[:12]
            contents[number] = content.decode()
            serves[place] = [number, served["type"]]
        del case["made"], case["cosign"]
        cases[path.parent.name] = {
            **case,
            "key": key.stem.removeprefix("TEST-ONLY-"),
            "serves": serves,
        }
    whole = {"keys": dict(sorted(keys.items())), "contents": dict(sorted(contents.items())), "cases": cases}
    return json.dumps(whole, indent=1, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    STORED.write_text(convert(Path(sys.argv[1])), encoding="utf-8")
