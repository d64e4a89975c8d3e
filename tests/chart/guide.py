"""The blocks of a document: the commands for its reader, and the files that its reader writes."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.chart.rendering import CHART
from tests.controlplane import ControlPlane

_FENCE: Final = re.compile(
    r"^(?:<!-- not run: (?P<reason>.+) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_FILE: Final = re.compile(r"# ([\w.-]+\.yaml)\n")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code below a heading.

    ``file`` is the name in its first line, and ``reason`` says why it is not run; otherwise they are empty.
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


class Reader:
    """Follows a document in a folder."""

    def __init__(self, document: Path, folder: Path, cluster: ControlPlane) -> None:
        """Read the document; the folder contains the reader's files."""
        self.blocks = read_blocks(document)
        self._folder = folder
        self._cluster = cluster
        self._typed: set[str] = set()

    def follow(self, section: str) -> Iterator[str]:
        """Run the blocks of a section one by one; yields the output of each."""
        for block in self.blocks:
            if block.section == section and block.language == "sh" and not block.reason:
                yield self.type(block.text)

    def type(self, text: str) -> str:
        """Run a block as a shell with ``set -e`` does."""
        self._typed.add(text)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
            env={
                "PATH": f"{os.environ['KUBEBUILDER_ASSETS']}:{os.environ['PATH']}",
                "HOME": str(self._folder),
                "KUBECONFIG": str(self._cluster.kubeconfig("admin")),
                "CHART": str(CHART),
            },
        )
        output = done.stdout + done.stderr
        assert done.returncode == 0, f"{text}\n{output}"
        return output

    def skipped(self) -> list[Block]:
        """Return the blocks that were not run and have no reason for it."""
        return [
            block
            for block in self.blocks
            if block.language == "sh" and not block.reason and block.text not in self._typed
        ]
