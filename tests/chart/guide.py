"""The blocks of a document: what its reader types, and the files that its reader writes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_FENCE: Final = re.compile(
    r"^(?:<!-- not run: (?P<reason>.+) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_FILE: Final = re.compile(r"# ([\w.-]+\.yaml)\n")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code below a heading.

    ``file`` is the name that its first line gives, ``reason`` says why it is not run; else they are empty.
    """

    section: str
    language: str
    text: str
    file: str
    reason: str


def read_blocks(document: Path) -> list[Block]:
    """Return all blocks of a document in their order."""
    blocks: list[Block] = []
    for part in re.split(r"^(?=##+ )", document.read_text(encoding="utf-8"), flags=re.MULTILINE):
        heading = part.partition("\n")[0].lstrip("# ")
        for match in _FENCE.finditer(part):
            file = _FILE.match(match["text"])
            blocks.append(
                Block(
                    heading, match["language"], match["text"], file[1] if file else "", match["reason"] or ""
                )
            )
    return blocks
