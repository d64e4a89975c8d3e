"""Asynchronous writer of Kubernetes Events (``events.k8s.io/v1``).

Callers enqueue without blocking. Equal Events become one series. One worker writes at most 10 Events per
second. When the queue is full, new Events are dropped and counted.
"""

from __future__ import annotations

import logging
import secrets
import socket
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

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
"""Limits of the queue, in total and for one namespace, which must not fill the whole queue.

Normal Events fill half of each at most. After a node is drained, images of many Pods are pinned
at once, and the warnings say why other Pods are missing.
"""

MAX_SERIES: Final = 1000
"""Written Events that are kept, so that a repetition updates the series."""

SERIES_INTERVAL: Final = 60.0
"""Seconds between two writes of one Event; repetitions in between are counted."""

SERIES_LIFETIME: Final = 1800.0
"""Seconds after the last write after which a repetition is a new Event. Events expire after an hour."""

WRITES_PER_ROUND: Final = 10
ROUND: Final = 1.0
"""Seconds between two rounds of the worker; with the above, this limits the rate of calls."""

MAX_PAUSE: Final = 60.0
"""Longest pause in seconds while the API server does not respond."""


@dataclass(frozen=True, slots=True)
class ObjectReference:
    """The object that an Event is about, in the namespace of the Event."""

    api_version: str
    kind: str
    name: str
    uid: str = ""


@dataclass(frozen=True, slots=True)
class EventKey:
    """The aggregation key: Events with equal keys are one series."""

    namespace: str
    regarding: ObjectReference
    reason: str
    note: str
    is_warning: bool = True
    action: str = ACTION


@dataclass(slots=True)
class _Seen:
    """The number of repetitions since the last write, and the time of the last, in epoch seconds."""

    count: int
    last: float


@dataclass(slots=True)
class _Series:
    """An Event in the cluster: its name, its count, and the time of the last write."""

    name: str
    count: int
    written: float


class EventRecorder:
    """Queues Events and writes them; ``run`` is its worker."""

    controller: ClassVar[str]
    """``reportingController``, a qualified name."""

    def __init__(
        self,
        api: KubernetesApi,
        instance: str,
        recorder: Recorder,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Write to ``api`` as the replica ``instance``."""
        self._api = api
        self._instance = instance[:128] or "unknown"
        self._recorder = recorder
        self._clock = clock
        self._lock = threading.Lock()
        self._pending: OrderedDict[EventKey, _Seen] = OrderedDict()
        self._waiting: Counter[str] = Counter()
        self._series: OrderedDict[EventKey, _Series] = OrderedDict()

    def enqueue(self, key: EventKey) -> None:
        """Queue an Event that happened now, without waiting."""
        self._merge(key, _Seen(1, self._clock()))

    def run(self, stop: threading.Event) -> None:
        """Write queued Events until ``stop`` is set, and drop the rest."""
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
        """Write up to ``WRITES_PER_ROUND`` due Events; return whether the API server responded."""
        due = self._take_due()
        for index, (key, seen) in enumerate(due):
            try:
                outcome = self._write(key, seen)
            except ClusterError as error:
                if error.status in TRANSIENT:
                    for unwritten in due[index:]:
                        self._merge(*unwritten)
                    logger.warning("cannot write an Event yet", extra={"detail": str(error)})
                    return False
                logger.warning("cannot write an Event", extra={"detail": str(error)})
                outcome = "failed"
            self._recorder.event_ended(outcome)
        return True

    def _merge(self, key: EventKey, new: _Seen) -> None:
        namespace = key.namespace
        with self._lock:
            known = self._pending.get(key)
            if known is not None:
                known.count += new.count
                known.last = max(known.last, new.last)
                return
            share = 1 if key.is_warning else 2
            full = (
                len(self._pending) >= MAX_PENDING // share
                or self._waiting[namespace] >= MAX_PENDING_OF_NAMESPACE // share
            )
            if not full:
                self._pending[key] = new
                self._waiting[namespace] += 1
        if full:
            self._recorder.event_ended("dropped")

    def _take_due(self) -> list[tuple[EventKey, _Seen]]:
        """Remove and return the Events that may be written now, oldest first."""
        now = self._clock()
        due: list[tuple[EventKey, _Seen]] = []
        with self._lock:
            for key, seen in self._pending.items():
                series = self._series.get(key)
                if series is None or not 0 <= now - series.written < SERIES_INTERVAL:
                    due.append((key, seen))
                    if len(due) == WRITES_PER_ROUND:
                        break
            for key, _ in due:
                del self._pending[key]
                self._waiting[key.namespace] -= 1
                if not self._waiting[key.namespace]:
                    del self._waiting[key.namespace]
        return due

    def _write(self, key: EventKey, seen: _Seen) -> str:
        path = f"/apis/events.k8s.io/v1/namespaces/{key.namespace}/events"
        now = self._clock()
        series = self._series.get(key)
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
        self._api.create(path, self._event(key, seen, name))
        self._series[key] = _Series(name, seen.count, now)
        self._series.move_to_end(key)
        if len(self._series) > MAX_SERIES:
            self._series.popitem(last=False)
        return "created"

    def _event(self, key: EventKey, seen: _Seen, name: str) -> dict[str, Any]:
        regarding = key.regarding
        event: dict[str, Any] = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": key.namespace},
            "type": "Warning" if key.is_warning else "Normal",
            "eventTime": _micro_time(seen.last),
            "reportingController": self.controller,
            "reportingInstance": self._instance,
            "action": key.action,
            "reason": key.reason,
            "note": _shorten(key.note),
            "regarding": {
                "apiVersion": regarding.api_version,
                "kind": regarding.kind,
                "name": regarding.name,
                "namespace": key.namespace,
            },
        }
        if regarding.uid:
            event["regarding"]["uid"] = regarding.uid
        if seen.count > 1:
            event["series"] = {"count": seen.count, "lastObservedTime": _micro_time(seen.last)}
        return event


def instance_name(environment: Mapping[str, str]) -> str:
    """Return the name of this replica in its Events: that of its Pod if known, otherwise of its host."""
    return environment.get("POD_NAME") or socket.gethostname()


def object_reference(api_version: str, kind: str, name: str, uid: str = "") -> ObjectReference:
    """Return a reference to the object of an Event; unprintable characters of names are escaped."""
    return ObjectReference(*(printable(text, 253) for text in (api_version, kind, name, uid)))


def _shorten(note: str) -> str:
    data = note.encode("utf-8", "replace")
    if len(data) <= MAX_NOTE:
        return data.decode("utf-8")
    return data[: MAX_NOTE - 3].decode("utf-8", "ignore") + "..."


def _micro_time(at: float) -> str:
    """Return a time as ``MicroTime``: RFC 3339, UTC, six decimals."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
