"""The blocks of a document: the commands for its reader, and the files that its reader writes."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.chart.rendering import merged
from tests.controlplane import ControlPlane

_FENCE: Final = re.compile(
    r"^(?:<!-- not run: (?P<reason>.+) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_FILE: Final = re.compile(r"# ([\w.-]+\.yaml)\n")
_PART: Final = re.compile(r"# in ([\w.-]+\.yaml)\n")
_EXPORT: Final = re.compile(r"^export (\w+)=(\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code below a heading.

    ``file`` is the name that its first line gives, ``part_of`` the name of the file that it changes, and
    ``reason`` says why it is not run. They are empty if the block does not have them.
    """

    section: str
    language: str
    text: str
    file: str
    part_of: str
    reason: str


def read_blocks(document: Path) -> list[Block]:
    """Return all blocks of a document in their order."""
    blocks: list[Block] = []
    for part in re.split(r"^(?=##+ )", document.read_text(encoding="utf-8"), flags=re.MULTILINE):
        heading = part.partition("\n")[0].lstrip("# ")
        for match in _FENCE.finditer(part):
            file, changed = _FILE.match(match["text"]), _PART.match(match["text"])
            blocks.append(
                Block(
                    section=heading,
                    language=match["language"],
                    text=match["text"],
                    file=file[1] if file else "",
                    part_of=changed[1] if changed else "",
                    reason=match["reason"] or "",
                )
            )
    return blocks


class Reader:
    """Follows a document in a folder."""

    def __init__(
        self, document: Path, folder: Path, cluster: ControlPlane, changes: dict[str, Any] | None = None
    ) -> None:
        """Read the document; the folder contains the reader's files.

        ``changes`` are merged into ``values.yaml``, because the document names addresses of a real cloud.
        """
        self.blocks = read_blocks(document)
        self._folder = folder
        self._cluster = cluster
        self._changes = changes or {}
        self._typed: set[str] = set()
        self._exported: dict[str, str] = {}

    def follow(self, section: str) -> Iterator[str]:
        """Write the files and run the blocks of a section in order; yields the output of each run."""
        for block in self.blocks:
            if block.section != section or block.reason:
                continue
            if block.file:
                self._write(block)
            elif block.part_of:
                self.edit(block.part_of, yaml.safe_load(block.text))
            elif block.language == "sh":
                yield self.type(block.text)

    def edit(self, file: str, changes: dict[str, Any]) -> None:
        """Merge changes into a YAML file."""
        path = self._folder / file
        values = merged(yaml.safe_load(path.read_text(encoding="utf-8")), changes)
        path.write_text(json.dumps(values), encoding="utf-8")

    def _write(self, block: Block) -> None:
        (self._folder / block.file).write_text(block.text, encoding="utf-8")
        if block.file == "values.yaml":
            self.edit(block.file, self._changes)

    def type(self, text: str) -> str:
        """Run a block as a shell with ``set -e`` does; variables stay exported."""
        self._typed.add(text)
        self._exported |= dict(_EXPORT.findall(text))
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
                **self._exported,
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
