"""Events on what runs already and would be refused now: found by the audit in the cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

from webhook.audit.report import FindingRow
from webhook.cluster.event_writer import EventApi, EventRecorder, EventWriter, Happening, Regarded, regard

CONTROLLER: Final = "swr-trust/audit"
"""``reportingController``, which tells them from those of the webhook."""

REASON: Final = "RunningImageWouldBeRefused"


class RunningEvents(EventWriter):
    """Writes an Event on the workload of a running image, or on its namespace where nobody named one."""

    def __init__(
        self, api: EventApi, instance: str, recorder: EventRecorder, clock: Callable[[], float] = time.time
    ) -> None:
        """Write to ``api`` in the name of the replica ``instance``."""
        super().__init__(api, CONTROLLER, instance, recorder, clock)

    def tell(self, rows: Iterable[FindingRow]) -> None:
        """Remember an Event for each row; never waits and never calls."""
        for row in rows:
            self.remember(Happening(row.namespace, _regarded(row), REASON, _note(row)))


def _regarded(row: FindingRow) -> Regarded:
    workload = row.workload
    if not workload.api_version or workload.kind == "Node":  # a Node has no namespace
        return Regarded("v1", "Namespace", row.namespace)
    return regard(workload.api_version, workload.kind, workload.name, workload.uid)


def _note(row: FindingRow) -> str:
    # The sentence comes first: what does not fit is cut off at the end.
    told = f"{row.workload} runs an image that would be refused now: {row.image}: {row.message}."
    return f"{told} {row.advice}".strip()
