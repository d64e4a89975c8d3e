"""The Pods that a report covers, those that it leaves out, and what is missing from it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Final

from webhook.audit.pods import PodPage, RunningPod
from webhook.policy.findings import Mode
from webhook.policy.namespaces import NamespacePatterns

MAX_NOTES: Final = 50
"""Different gaps, and different notes, that a report keeps."""

MAX_IMAGE: Final = 300
"""Characters of an image, or of the detail of a failure, in a report."""


@dataclass(slots=True)
class Coverage:
    """The base of a report about running Pods. With ``gaps`` it is partial.

    ``policy`` and ``mode`` are those in force, ``seconds`` is the time that the report took. ``pods`` are
    covered; ``static`` and ``excluded`` Pods are not, because the webhook does not evaluate them either.
    """

    started: dt.datetime
    policy: str
    mode: Mode
    excluded_namespaces: tuple[str, ...] = ()
    seconds: float = 0.0
    pods: int = 0
    static: int = 0
    excluded: int = 0
    gaps: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_partial(self) -> bool:
        """Whether something is missing from the report."""
        return bool(self.gaps)

    def add_gap(self, gap: str) -> None:
        """Add what is missing, a sentence without its full stop; the same one once."""
        _append_once(self.gaps, gap)

    def select(self, page: PodPage, excluded: NamespacePatterns) -> list[RunningPod]:
        """Return the Pods of a page that are covered, count the others, and add its gaps and notes."""
        for gap in page.gaps:
            self.add_gap(gap)
        for note in page.notes:
            _append_once(self.notes, note)
        covered = []
        for pod in page.pods:
            if excluded.match(pod.namespace):
                self.excluded += 1
            elif pod.is_static:
                self.static += 1
            else:
                covered.append(pod)
        return covered


def _append_once(lines: list[str], line: str) -> None:
    if line not in lines and len(lines) < MAX_NOTES:
        lines.append(line)
