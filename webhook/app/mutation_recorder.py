"""Records each mutation in metrics and in one log line.

The line has the level ``debug`` if the policy pins no image of the request.
"""

from __future__ import annotations

import logging
from typing import Final

import msgspec

from webhook.admission.mutation import Mutation, NotPinned, Outcome, PinnedImage, describe_pins
from webhook.admission.request import AdmissionRequest
from webhook.app.decision_recorder import MAX_FINDINGS, MAX_NAME, owner_of
from webhook.telemetry.logs import LineLog
from webhook.telemetry.metrics import Metrics

LOGGER: Final = "webhook.mutations"

_LEVELS: Final = {Outcome.ERROR: logging.ERROR, Outcome.BUSY: logging.WARNING}


class _Fields(msgspec.Struct, omit_defaults=True, rename="camel"):
    """The fields of the log line; ``milliseconds`` is the time of the review."""

    uid: str
    outcome: Outcome
    operation: str
    namespace: str
    object: str
    user: str
    milliseconds: float
    pinned: list[PinnedImage] = msgspec.field(default_factory=list)
    not_pinned: list[NotPinned] = msgspec.field(default_factory=list)
    more: int = 0
    owner: str = ""
    subresource: str = ""
    dry_run: bool = False


class MutationRecorder:
    """Implements ``MutationObserver``."""

    def __init__(self, metrics: Metrics, lines: LineLog) -> None:
        """Count into ``metrics`` and write to ``lines``."""
        self._metrics = metrics.pinning
        self._lines = lines

    def observe_mutation(self, request: AdmissionRequest, mutation: Mutation, seconds: float) -> None:
        """Count a mutation and write its log line."""
        self._metrics.mutated(mutation.outcome, dry_run=bool(request.dry_run), seconds=seconds)
        for pin in mutation.pins:
            self._metrics.image("kept" if pin.is_kept else "pinned")
        for item in mutation.not_pinned:
            self._metrics.image(item.reason)
        usual = logging.INFO if mutation.pins or mutation.not_pinned else logging.DEBUG
        level = _LEVELS.get(mutation.outcome, usual)
        if level >= self._lines.level:
            self._lines.write(level, LOGGER, "mutated", _fields_of(request, mutation, seconds))


def _fields_of(request: AdmissionRequest, mutation: Mutation, seconds: float) -> _Fields:
    pins, not_pinned = describe_pins(mutation.pins), list(mutation.not_pinned[:MAX_FINDINGS])
    return _Fields(
        request.uid,
        mutation.outcome,
        request.operation,
        request.namespace,
        request.object_name,
        request.user_info.username[:MAX_NAME],
        round(seconds * 1000, 2),
        pins,
        not_pinned,
        len(mutation.pins) + len(mutation.not_pinned) - len(pins) - len(not_pinned),
        owner_of(request),
        request.sub_resource,
        bool(request.dry_run),
    )
