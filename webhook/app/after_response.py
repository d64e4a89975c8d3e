"""Decisions are recorded after their responses are sent.

kube-apiserver waits for the response, not for the record. Counting a decision and writing its log line take a
fifth of the time of a cached review. Nothing else runs between the response and the record, unless the client
does not read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from webhook.admission.decision import Decision
from webhook.admission.request import AdmissionRequest
from webhook.admission.validator import DecisionObserver, notify


class AfterResponse:
    """Implements ``DecisionObserver``: keeps decisions until ``flush`` passes them on."""

    def __init__(self, observers: Sequence[DecisionObserver]) -> None:
        """Pass decisions on to ``observers``."""
        self._observers = tuple(observers)
        self._waiting: deque[tuple[AdmissionRequest, Decision, float]] = deque()

    def observe(self, request: AdmissionRequest, decision: Decision, seconds: float) -> None:
        """Keep a decision."""
        self._waiting.append((request, decision, seconds))

    def flush(self) -> None:
        """Pass the decisions on; called after each response, whether it was sent or not."""
        waiting = self._waiting
        while waiting:
            request, decision, seconds = waiting.popleft()
            notify(self._observers, request, decision, seconds)
