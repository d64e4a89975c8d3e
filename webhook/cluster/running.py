"""Events about running images that would be denied now, found by the audit in the cluster."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from webhook.audit.report import FindingRow
from webhook.cluster.event_recorder import (
    EventKey,
    EventRecorder,
    ObjectReference,
    object_reference,
)

REASON: Final = "RunningImageWouldBeRefused"


class RunningEvents(EventRecorder):
    """Writes an Event about the workload of a running image, or about its namespace without a workload."""

    controller = "swr-trust/audit"

    def record(self, rows: Iterable[FindingRow]) -> None:
        """Enqueue an Event for each row, without waiting."""
        for row in rows:
            self.enqueue(EventKey(row.namespace, _regarding(row), REASON, _note(row)))


def _regarding(row: FindingRow) -> ObjectReference:
    workload = row.workload
    if not workload.api_version or workload.kind == "Node":  # a Node has no namespace
        return ObjectReference("v1", "Namespace", row.namespace)
    return object_reference(workload.api_version, workload.kind, workload.name, workload.uid)


def _note(row: FindingRow) -> str:
    # The sentence comes first, because long notes are truncated.
    note = f"{row.workload} runs an image that would be denied now: {row.image}: {row.message}."
    return f"{note} {row.advice}".strip()
