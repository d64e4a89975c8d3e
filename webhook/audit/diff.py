"""Finds images that would be denied now, but not in earlier rounds of an audit."""

from __future__ import annotations

from itertools import islice
from typing import Final

from webhook.audit.report import AuditReport, FindingRow
from webhook.policy.findings import Finding

MAX_KNOWN: Final = 50_000
"""Images and namespaces that are remembered; a round lists at most 20,000 images."""

Key = tuple[str, str, str]


class FindingDiff:
    """Remembers the denied images of earlier rounds.

    The first round in a namespace reports no image, because nothing has changed yet. An image for which SWR
    could not be queried is not reported, and its earlier result is kept.
    """

    def __init__(self) -> None:
        """Begin without any round."""
        self._known: set[Key] = set()
        self._namespaces: set[str] = set()
        self._has_seen_all = False

    def update(self, report: AuditReport) -> list[FindingRow]:
        """Return the denied images that no earlier round had, and remember those of this round."""
        denied = [row for row in report.rows if row.refused and row.finding is not Finding.UNKNOWN]
        added = [row for row in denied if _key(row) not in self._known and self._has_seen(row.namespace)]
        self._remember(report, {_key(row) for row in denied})
        return added

    def _has_seen(self, namespace: str) -> bool:
        return self._has_seen_all or namespace in self._namespaces

    def _remember(self, report: AuditReport, denied: set[Key]) -> None:
        namespaces = {row.name for row in report.namespaces}
        if report.is_partial or report.omitted:
            denied |= self._known
            namespaces |= self._namespaces
        else:
            unknown = {_key(row) for row in report.rows if row.finding is Finding.UNKNOWN}
            denied |= self._known & unknown
            self._has_seen_all = True
        self._known = set(islice(denied, MAX_KNOWN))
        self._namespaces = set(islice(namespaces, MAX_KNOWN))


def _key(row: FindingRow) -> Key:
    return row.namespace, str(row.workload), row.image
