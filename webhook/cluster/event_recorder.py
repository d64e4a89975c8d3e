"""Writes Events (``events.k8s.io/v1``, Kubernetes API reference) from a bounded memory, slowly.

Whoever has something to say puts it into the memory, where repetitions become one; one worker
writes from there. Nothing waits for it, and what does not fit is counted and forgotten.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from webhook.admission.messages import printable
from webhook.backoff import Backoff
from webhook.cluster.client import MERGE_PATCH, NOT_FOUND, TRANSIENT, KubernetesApi
from webhook.errors import ClusterError
from webhook.recorder import Recorder

logger = logging.getLogger(__name__)

ACTION: Final = "JudgeImages"

MAX_NOTE: Final = 1024
"""Bytes of an Event's note (Kubernetes API reference, Event v1 events.k8s.io)."""

MAX_PENDING: Final = 500
MAX_PENDING_OF_NAMESPACE: Final = 100
"""Events that wait to be written. One namespace must not take the place of all others."""

MAX_SERIES: Final = 1000
"""Events that are remembered, so that a repetition is counted and not written anew."""

SERIES_INTERVAL: Final = 60.0
"""Seconds between two writes of one Event; what happens in between is counted."""

SERIES_LIFETIME: Final = 1800.0
"""Seconds of quiet after which a repetition is news. The API server forgets Events after an hour."""

WRITES_PER_ROUND: Final = 10
ROUND: Final = 1.0
"""Seconds between two rounds of the worker; with the above it is the limit of the rate of calls."""

MAX_PAUSE: Final = 60.0
"""Seconds that the worker waits at most after an API server that does not answer."""


@dataclass(frozen=True, slots=True)
class ObjectReference:
    """The object that an Event stands on, in the namespace of the Event."""

    api_version: str
    kind: str
    name: str
    uid: str = ""


@dataclass(frozen=True, slots=True)
class EventKey:
    """What an Event says: two that are equal are one Event, seen twice."""

    namespace: str
    regarding: ObjectReference
    reason: str
    note: str


@dataclass(slots=True)
class _Seen:
    """How often a happening was seen since the last write, and when last, in epoch seconds."""

    count: int
    last: float


@dataclass(slots=True)
class _Series:
    """An Event in the cluster: its name, how often it happened, when it was written last."""

    name: str
    count: int
    written: float


class EventRecorder:
    """Remembers what happened, and writes it; ``run`` is its worker."""

    def __init__(
        self,
        api: KubernetesApi,
        controller: str,
        instance: str,
        recorder: Recorder,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Write to ``api`` in the name of ``controller`` and its replica ``instance``."""
        self._api = api
        self._controller = controller
        self._instance = instance[:128] or "unknown"
        self._recorder = recorder
        self._clock = clock
        self._lock = threading.Lock()
        self._pending: OrderedDict[EventKey, _Seen] = OrderedDict()
        self._waiting: Counter[str] = Counter()
        self._series: OrderedDict[EventKey, _Series] = OrderedDict()

    def enqueue(self, happening: EventKey) -> None:
        """Remember what happened just now; never waits and never calls."""
        self._remember(happening, _Seen(1, self._clock()))

    def run(self, stop: threading.Event) -> None:
        """Write what is remembered until told to stop; what is left then is lost."""
        backoff, pause = Backoff(2 * ROUND, MAX_PAUSE), ROUND
        while not stop.wait(pause):
            try:
                answered = self.flush()
            except Exception:
                logger.exception("failed to write Events")
                answered = False
            if answered:
                backoff.reset()
            pause = ROUND if answered else backoff.fail()

    def flush(self) -> bool:
        """Write what is due, at most ``WRITES_PER_ROUND``; return whether the API server answered."""
        due = self._take_due()
        for index, (happening, seen) in enumerate(due):
            try:
                outcome = self._write(happening, seen)
            except ClusterError as error:
                if error.status in TRANSIENT:
                    for unwritten in due[index:]:
                        self._remember(*unwritten)
                    logger.warning("cannot write an Event yet", extra={"detail": str(error)})
                    return False
                logger.warning("cannot write an Event", extra={"detail": str(error)})
                outcome = "failed"
            self._recorder.event_ended(outcome)
        return True

    def _remember(self, happening: EventKey, new: _Seen) -> None:
        namespace = happening.namespace
        with self._lock:
            known = self._pending.get(happening)
            if known is not None:
                known.count += new.count
                known.last = max(known.last, new.last)
                return
            full = len(self._pending) >= MAX_PENDING or self._waiting[namespace] >= MAX_PENDING_OF_NAMESPACE
            if not full:
                self._pending[happening] = new
                self._waiting[namespace] += 1
        if full:
            self._recorder.event_ended("dropped")

    def _take_due(self) -> list[tuple[EventKey, _Seen]]:
        """Take out what may be written now, oldest first."""
        now = self._clock()
        due: list[tuple[EventKey, _Seen]] = []
        with self._lock:
            for happening, seen in self._pending.items():
                series = self._series.get(happening)
                if series is None or not 0 <= now - series.written < SERIES_INTERVAL:
                    due.append((happening, seen))
                    if len(due) == WRITES_PER_ROUND:
                        break
            for happening, _ in due:
                del self._pending[happening]
                self._waiting[happening.namespace] -= 1
                if not self._waiting[happening.namespace]:
                    del self._waiting[happening.namespace]
        return due

    def _write(self, happening: EventKey, seen: _Seen) -> str:
        path = f"/apis/events.k8s.io/v1/namespaces/{happening.namespace}/events"
        now = self._clock()
        series = self._series.get(happening)
        if series is not None and now - series.written < SERIES_LIFETIME:
            count = series.count + seen.count
            change = {"series": {"count": count, "lastObservedTime": _micro_time(seen.last)}}
            try:
                self._api.patch(f"{path}/{series.name}", change, MERGE_PATCH)
            except ClusterError as error:
                if error.status != NOT_FOUND:
                    raise
            else:
                series.count, series.written = count, now
                return "repeated"
        name = f"swr-trust.{secrets.token_hex(8)}"
        self._api.create(path, self._event(happening, seen, name))
        self._series[happening] = _Series(name, seen.count, now)
        self._series.move_to_end(happening)
        if len(self._series) > MAX_SERIES:
            self._series.popitem(last=False)
        return "created"

    def _event(self, happening: EventKey, seen: _Seen, name: str) -> dict[str, Any]:
        regarding = happening.regarding
        event: dict[str, Any] = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": happening.namespace},
            "type": "Warning",
            "eventTime": _micro_time(seen.last),
            "reportingController": self._controller,
            "reportingInstance": self._instance,
            "action": ACTION,
            "reason": happening.reason,
            "note": _cut(happening.note),
            "regarding": {
                "apiVersion": regarding.api_version,
                "kind": regarding.kind,
                "name": regarding.name,
                "namespace": happening.namespace,
            },
        }
        if regarding.uid:
            event["regarding"]["uid"] = regarding.uid
        if seen.count > 1:
            event["series"] = {"count": seen.count, "lastObservedTime": _micro_time(seen.last)}
        return event


def object_reference(api_version: str, kind: str, name: str, uid: str = "") -> ObjectReference:
    """Return what an Event stands on; names that a stranger chose are made harmless."""
    return ObjectReference(*(printable(text, 253) for text in (api_version, kind, name, uid)))


def _cut(note: str) -> str:
    data = note.encode("utf-8", "replace")
    if len(data) <= MAX_NOTE:
        return data.decode("utf-8")
    return data[: MAX_NOTE - 3].decode("utf-8", "ignore") + "..."


def _micro_time(at: float) -> str:
    """Return a time as ``MicroTime`` has it: RFC 3339, UTC, six decimals."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
