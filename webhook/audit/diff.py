"""What is new in an audit that is made again and again: running images that earlier rounds did not refuse."""

from __future__ import annotations

from itertools import islice
from typing import Final

from webhook.audit.report import AuditReport, FindingRow
from webhook.policy.findings import Finding

MAX_KNOWN: Final = 50_000
"""Refusals that are remembered; a round lists at most 20,000."""

Key = tuple[str, str, str]


class FindingDiff:
    """Remembers what earlier rounds refused.

    Nothing is news in a namespace that no round has seen before: the first round tells what there
    is, not what has changed. That SWR could not be asked is no news, and what was known of such
    an image stays.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self._known: set[Key] = set()
        self._namespaces: set[str] = set()
        self._has_seen_all = False

    def update(self, report: AuditReport) -> list[FindingRow]:
        """Return the refusals that no earlier round has seen, and remember all of this one."""
        refused = [row for row in report.rows if row.refused and row.finding is not Finding.UNKNOWN]
        news = [row for row in refused if _key(row) not in self._known and self._has_seen(row.namespace)]
        self._remember(report, {_key(row) for row in refused})
        return news

    def _has_seen(self, namespace: str) -> bool:
        return self._has_seen_all or namespace in self._namespaces

    def _remember(self, report: AuditReport, refused: set[Key]) -> None:
        namespaces = {row.name for row in report.namespaces}
        if report.is_partial or report.omitted:
            refused |= self._known
            namespaces |= self._namespaces
        else:
            unknown = {_key(row) for row in report.rows if row.finding is Finding.UNKNOWN}
            refused |= self._known & unknown
            self._has_seen_all = True
        self._known = set(islice(refused, MAX_KNOWN))
        self._namespaces = set(islice(namespaces, MAX_KNOWN))


def _key(row: FindingRow) -> Key:
    return row.namespace, str(row.workload), row.image
