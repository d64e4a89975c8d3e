"""Evidence for an auditor, from the decision log: denials, exemptions and uses of break-glass."""

from __future__ import annotations

import datetime as dt
import re
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final, TypeVar

import msgspec

from webhook.admission.messages import printable
from webhook.audit.log_lines import DecisionLines
from webhook.audit.tables import format_moment, write_csv

MAX_GROUPS: Final = 20_000
"""Rows of each list; more are counted and not kept."""

MAX_BYTES: Final = 64 * 2**20
"""Bytes of text in all lists together; rows beyond it are counted and not kept."""

MAX_OUTCOMES: Final = 32
"""Different decisions that are counted separately; the webhook has six."""

MAX_TEXT: Final = 300

_CONTROLLER: Final = re.compile(
    r"system:serviceaccount:kube-system:(replicaset|replication|daemon-set|statefulset|job)-controller"
)
_KINDS: Final = {
    "replicaset": "ReplicaSet",
    "replication": "ReplicationController",
    "daemon-set": "DaemonSet",
    "statefulset": "StatefulSet",
    "job": "Job",
}
_GENERATED: Final = re.compile(r"-(?:\*|[bcdfghjklmnpqrstvwxz2456789]{5})")
"""The end of a name that the API server generates from ``generateName``: five characters of this alphabet.
Source: k8s.io/apimachinery, pkg/util/rand."""

_ORDINAL: Final = re.compile(r"-\d+")

COLUMNS: Final = (
    "kind",
    "namespace",
    "object",
    "image",
    "finding",
    "name",
    "user",
    "count",
    "first",
    "last",
    "reason",
)


@dataclass(slots=True)
class DeniedRow:
    """All denials of one image of one workload in one namespace to one user.

    ``kind`` and ``object`` name the workload that creates the Pods, or the object itself if there is none.
    """

    namespace: str
    kind: str
    object: str
    image: str
    finding: str
    user: str
    count: int = 0
    first: str = ""
    last: str = ""


@dataclass(slots=True)
class ExemptedRow:
    """All uses of one exemption for one image in one namespace."""

    exemption: str
    namespace: str
    image: str
    count: int = 0
    first: str = ""
    last: str = ""


@dataclass(frozen=True, slots=True)
class BreakGlassRow:
    """One request that a user admitted by break-glass, and the reason given."""

    at: str
    user: str
    reason: str
    namespace: str
    kind: str
    object: str
    images: tuple[str, ...]


@dataclass(slots=True)
class Evidence:
    """The content of a log. Times are RFC 3339 in UTC, as in the log.

    ``outcomes`` counts decisions without dry runs. ``watched`` lists images that were admitted only because
    of a mode. ``unreadable`` counts lines that look like records and cannot be read; with one, the report
    is partial.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    refused: list[DeniedRow] = field(default_factory=list)
    watched: list[DeniedRow] = field(default_factory=list)
    exempted: list[ExemptedRow] = field(default_factory=list)
    glass: list[BreakGlassRow] = field(default_factory=list)
    first: str = ""
    last: str = ""
    decisions: int = 0
    dry_runs: int = 0
    other_lines: int = 0
    unreadable: int = 0
    omitted: int = 0
    gaps: list[str] = field(default_factory=list)

    @property
    def is_partial(self) -> bool:
        """Whether something is missing from the report."""
        return bool(self.gaps or self.unreadable or self.omitted)


RowT = TypeVar("RowT", DeniedRow, ExemptedRow)


class EvidenceReader:
    """Aggregates the lines of logs in bounded memory."""

    def __init__(self, since: dt.datetime | None = None, until: dt.datetime | None = None) -> None:
        """Read decisions from ``since``, inclusive, to ``until``, exclusive."""
        self.evidence = Evidence()
        self._since = format_moment(since)[:-1] if since is not None else ""
        self._until = format_moment(until)[:-1] if until is not None else ""
        self._refused: dict[tuple[str, ...], DeniedRow] = {}
        self._watched: dict[tuple[str, ...], DeniedRow] = {}
        self._exempted: dict[tuple[str, ...], ExemptedRow] = {}
        self._size = 0

    def read(self, stream: BinaryIO) -> None:
        """Read a log to its end, plain or as wrapped by a collector.

        Raises:
            OSError, EOFError, zlib.error: the stream cannot be read to its end; the lines before it count.
        """
        lines = DecisionLines()
        try:
            for record in lines.read(stream):
                self._add(record)
        finally:
            self.evidence.other_lines += lines.other_lines
            self.evidence.unreadable += lines.unreadable

    def finish(self) -> Evidence:
        """Return the evidence, the most frequent rows first."""
        evidence = self.evidence
        evidence.refused = sorted(self._refused.values(), key=lambda row: (-row.count, row.namespace))
        evidence.watched = sorted(self._watched.values(), key=lambda row: (-row.count, row.namespace))
        evidence.exempted = sorted(self._exempted.values(), key=lambda row: (row.exemption, -row.count))
        evidence.glass.sort(key=lambda row: row.at)
        return evidence

    def _add(self, record: Mapping[str, Any]) -> None:
        at = _text(record, "ts")
        if at[: len(self._since)] < self._since or (self._until and at[: len(self._until)] >= self._until):
            return
        evidence = self.evidence
        if record.get("dryRun"):
            evidence.dry_runs += 1
            return
        evidence.decisions += 1
        outcome = _text(record, "decision")
        known = outcome in evidence.outcomes or len(evidence.outcomes) < MAX_OUTCOMES
        evidence.outcomes[outcome if known else "other"] += 1
        evidence.first = min(evidence.first or at, at)
        evidence.last = max(evidence.last, at)
        listed = record.get("findings")
        findings = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
        for finding in findings:
            self._add_finding(record, finding, at)
        if record.get("decision") == "deny" and not findings:
            reason = {"finding": "not judged", "image": _text(record, "reason"), "effect": "deny"}
            self._add_finding(record, reason, at)
        if "breakGlass" in record:
            self._add_break_glass(record, findings, at)

    def _add_finding(self, record: Mapping[str, Any], finding: Mapping[str, Any], at: str) -> None:
        namespace, image = _text(record, "namespace"), _text(finding, "image")
        exemption = _text(finding, "exemption")
        effect = _text(finding, "effect")
        if exemption:
            exempted = ExemptedRow(exemption, namespace, image)
            self._count(self._exempted, (exemption, namespace, image), exempted, at)
        elif effect == "deny" or (effect in ("warn", "record") and "breakGlass" not in record):
            kind, name = _workload_of(record)
            row = DeniedRow(
                namespace,
                kind,
                name,
                image,
                "/".join(part for part in (_text(finding, "finding"), _text(finding, "reason")) if part),
                _text(record, "user"),
            )
            rows = self._refused if effect == "deny" else self._watched
            key = (namespace, row.kind, row.object, image, row.finding, row.user)
            self._count(rows, key, row, at)

    def _add_break_glass(self, record: Mapping[str, Any], findings: list[dict[str, Any]], at: str) -> None:
        images = tuple(f"{_text(item, 'image')} ({_text(item, 'finding')})" for item in findings)
        row = BreakGlassRow(
            at,
            _text(record, "user"),
            _text(record, "breakGlass"),
            _text(record, "namespace"),
            _text(record, "kind"),
            _text(record, "object"),
            images,
        )
        texts = (row.at, row.user, row.reason, row.namespace, row.kind, row.object, *images)
        if len(self.evidence.glass) < MAX_GROUPS and self._has_room(texts):
            self.evidence.glass.append(row)
        else:
            self.evidence.omitted += 1

    def _count(self, rows: dict[tuple[str, ...], RowT], key: tuple[str, ...], row: RowT, at: str) -> None:
        known = rows.get(key)
        if known is None:
            if len(rows) >= MAX_GROUPS or not self._has_room(key):
                self.evidence.omitted += 1
                return
            known = rows[key] = row
        known.count += 1
        known.first = min(known.first or at, at)
        known.last = max(known.last, at)

    def _has_room(self, texts: tuple[str, ...]) -> bool:
        """Return whether a row of these texts may be kept, and count its size."""
        size = sum(map(sys.getsizeof, texts))
        if self._size + size > MAX_BYTES:
            return False
        self._size += size
        return True


def _workload_of(record: Mapping[str, Any]) -> tuple[str, str]:
    """Return kind and name of the workload of a record, or of its object.

    Older logs do not name the owner. There, the user names the controller, and the name of the Pod begins
    with that of its owner.
    """
    kind, name = _text(record, "kind"), _text(record, "object")
    owner_kind, slash, owner_name = _text(record, "owner").partition("/")
    if slash:
        return owner_kind, owner_name
    controller = _CONTROLLER.fullmatch(_text(record, "user"))
    if controller is None or kind != "Pod":
        return kind, name
    start, dash, end = name.rpartition("-")
    ending = _ORDINAL if controller[1] == "statefulset" else _GENERATED
    return (_KINDS[controller[1]], start) if start and ending.fullmatch(dash + end) else (kind, name)


def evidence_as_data(evidence: Evidence) -> dict[str, Any]:
    """Return the evidence as plain values."""
    data: dict[str, Any] = msgspec.to_builtins(evidence)
    return {"schema": "swr-trust/evidence/v1", "partial": evidence.is_partial, **data}


def evidence_as_csv(evidence: Evidence) -> str:
    """Return one table; ``kind`` is ``refused``, ``watched``, ``exempted`` or ``break-glass``."""
    rows: list[tuple[object, ...]] = [
        (
            kind,
            row.namespace,
            f"{row.kind}/{row.object}",
            row.image,
            row.finding,
            "",
            row.user,
            row.count,
            row.first,
            row.last,
            "",
        )
        for kind, group in (("refused", evidence.refused), ("watched", evidence.watched))
        for row in group
    ]
    rows += [
        (
            "exempted",
            item.namespace,
            "",
            item.image,
            "exempt",
            item.exemption,
            "",
            item.count,
            item.first,
            item.last,
            "",
        )
        for item in evidence.exempted
    ]
    rows += [
        (
            "break-glass",
            row.namespace,
            f"{row.kind}/{row.object}",
            ", ".join(row.images),
            "",
            "",
            row.user,
            1,
            row.at,
            row.at,
            row.reason,
        )
        for row in evidence.glass
    ]
    return write_csv(COLUMNS, rows)


def _text(record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    return printable(value, MAX_TEXT) if isinstance(value, str) else ""
