"""Decisions and mutations are recorded after their responses are sent.

kube-apiserver waits for the response, not for the record. Counting a decision and writing its log line take a
fifth of the time of a cached review. Nothing else runs between the response and the record, unless the client
does not read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from webhook.admission.decision import Decision
from webhook.admission.mutation import Mutation
from webhook.admission.mutator import MutationObserver
from webhook.admission.observing import notify
from webhook.admission.request import AdmissionRequest
from webhook.admission.validator import DecisionObserver


class AfterResponse:
    """Implements both observers: keeps decisions and mutations until ``flush`` passes them on."""

    def __init__(
        self, of_decisions: Sequence[DecisionObserver], of_mutations: Sequence[MutationObserver] = ()
    ) -> None:
        """Pass decisions and mutations on to these observers."""
        self._of_decisions = tuple(observer.observe for observer in of_decisions)
        self._of_mutations = tuple(observer.observe_mutation for observer in of_mutations)
        self._waiting: deque[tuple[AdmissionRequest, Decision | Mutation, float]] = deque()

    def observe(self, request: AdmissionRequest, decision: Decision, seconds: float) -> None:
        """Keep a decision."""
        self._waiting.append((request, decision, seconds))

    def observe_mutation(self, request: AdmissionRequest, mutation: Mutation, seconds: float) -> None:
        """Keep a mutation."""
        self._waiting.append((request, mutation, seconds))

    def flush(self) -> None:
        """Pass all of them on; called after each response, whether it was sent or not."""
        waiting = self._waiting
        while waiting:
            request, answer, seconds = waiting.popleft()
            if isinstance(answer, Decision):
                notify(self._of_decisions, request, answer, seconds)
            else:
                notify(self._of_mutations, request, answer, seconds)
