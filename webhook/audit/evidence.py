"""Evidence for an auditor, from the decision log: what was refused, exempted, and let through by whom."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import msgspec

from webhook.admission.messages import printable
from webhook.audit.log_lines import TOO_LONG, Stream, Unwrapper, split_lines
from webhook.audit.tables import format_moment, write_csv

LOGGER: Final = "webhook.decisions"
"""The ``logger`` of the lines that record decisions."""

MAX_GROUPS: Final = 20_000
"""Groups of each list, and uses of break-glass; more are counted and not kept."""

MAX_TEXT: Final = 300

_GENERATED: Final = re.compile(r"-[bcdfghjklmnpqrstvwxz2456789]{5}$")
"""What the API server appends to ``generateName`` (k8s.io/apimachinery, util/rand)."""

_CONTROLLERS: Final = re.compile(r"system:serviceaccount:kube-system:[a-z-]+-controller")

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
class RefusedRow:
    """One image that was refused to one workload in one namespace and to one user, however often.

    ``kind`` and ``object`` are the workload's where a controller creates its Pods: each try has another name.
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
    """One image that was admitted in one namespace by one exemption."""

    exemption: str
    namespace: str
    image: str
    count: int = 0
    first: str = ""
    last: str = ""


@dataclass(frozen=True, slots=True)
class GlassRow:
    """One request that a person let through by break-glass, and the reason given."""

    at: str
    user: str
    reason: str
    namespace: str
    kind: str
    object: str
    images: tuple[str, ...]


@dataclass(slots=True)
class Evidence:
    """What a log says. Times are RFC 3339 in UTC, as the log writes them.

    ``outcomes`` counts decisions without dry runs; ``watched`` is what would have been refused but
    for a mode. ``unreadable`` counts lines that look like records and cannot be read: the report
    is partial with one of them.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    refused: list[RefusedRow] = field(default_factory=list)
    watched: list[RefusedRow] = field(default_factory=list)
    exempted: list[ExemptedRow] = field(default_factory=list)
    glass: list[GlassRow] = field(default_factory=list)
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
        """Whether something is missing from it."""
        return bool(self.gaps or self.unreadable or self.omitted)


RowT = TypeVar("RowT", RefusedRow, ExemptedRow)


class EvidenceReader:
    """Folds lines of a log into evidence, in memory that is bounded."""

    def __init__(self, since: dt.datetime | None = None, until: dt.datetime | None = None) -> None:
        """Take note of decisions from ``since`` to right before ``until``."""
        self.evidence = Evidence()
        self._since = format_moment(since)[:-1] if since is not None else ""
        self._until = format_moment(until)[:-1] if until is not None else ""
        self._refused: dict[tuple[str, ...], RefusedRow] = {}
        self._watched: dict[tuple[str, ...], RefusedRow] = {}
        self._exempted: dict[tuple[str, ...], ExemptedRow] = {}

    def read(self, stream: Stream) -> None:
        """Take the lines of a log, as the webhook or a collector has written them."""
        unwrapper = Unwrapper()
        for line in split_lines(stream):
            record = True if line is TOO_LONG else unwrapper.unwrap(line)
            if record is True:
                self.evidence.unreadable += 1
            elif record is False:
                self.evidence.other_lines += bool(line and line.strip())
            elif record.get("logger") != LOGGER:
                self.evidence.other_lines += 1
            else:
                self._take(record)
        self.evidence.unreadable += unwrapper.is_in_the_middle

    def finish(self) -> Evidence:
        """Return what was found, the most frequent first."""
        evidence = self.evidence
        evidence.refused = sorted(self._refused.values(), key=lambda row: (-row.count, row.namespace))
        evidence.watched = sorted(self._watched.values(), key=lambda row: (-row.count, row.namespace))
        evidence.exempted = sorted(self._exempted.values(), key=lambda row: (row.exemption, -row.count))
        evidence.glass.sort(key=lambda row: row.at)
        return evidence

    def _take(self, record: Mapping[str, Any]) -> None:
        at = _text(record, "ts")
        if at[: len(self._since)] < self._since or (self._until and at[: len(self._until)] >= self._until):
            return
        evidence = self.evidence
        if record.get("dryRun"):
            evidence.dry_runs += 1
            return
        evidence.decisions += 1
        evidence.outcomes[_text(record, "decision")] += 1
        evidence.first = min(evidence.first or at, at)
        evidence.last = max(evidence.last, at)
        listed = record.get("findings")
        findings = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
        for finding in findings:
            self._take_finding(record, finding, at)
        if record.get("decision") == "deny" and not findings:
            reason = {"finding": "not judged", "image": _text(record, "reason"), "effect": "deny"}
            self._take_finding(record, reason, at)
        if "breakGlass" in record:
            self._take_glass(record, findings, at)

    def _take_finding(self, record: Mapping[str, Any], finding: Mapping[str, Any], at: str) -> None:
        namespace, image = _text(record, "namespace"), _text(finding, "image")
        exemption = _text(finding, "exemption")
        effect = _text(finding, "effect")
        if exemption:
            exempted = ExemptedRow(exemption, namespace, image)
            self._count(self._exempted, (exemption, namespace, image), exempted, at)
        elif effect == "deny" or (effect in ("warn", "record") and "breakGlass" not in record):
            kind, name = _workload_of(record)
            refused = RefusedRow(
                namespace,
                kind,
                name,
                image,
                "/".join(part for part in (_text(finding, "finding"), _text(finding, "reason")) if part),
                _text(record, "user"),
            )
            rows = self._refused if effect == "deny" else self._watched
            key = (namespace, refused.kind, refused.object, image, refused.finding, refused.user)
            self._count(rows, key, refused, at)

    def _take_glass(self, record: Mapping[str, Any], findings: list[dict[str, Any]], at: str) -> None:
        if len(self.evidence.glass) >= MAX_GROUPS:
            self.evidence.omitted += 1
            return
        images = tuple(f"{_text(item, 'image')} ({_text(item, 'finding')})" for item in findings)
        self.evidence.glass.append(
            GlassRow(
                at,
                _text(record, "user"),
                _text(record, "breakGlass"),
                _text(record, "namespace"),
                _text(record, "kind"),
                _text(record, "object"),
                images,
            )
        )

    def _count(self, rows: dict[tuple[str, ...], RowT], key: tuple[str, ...], row: RowT, at: str) -> None:
        known = rows.get(key)
        if known is None:
            if len(rows) >= MAX_GROUPS:
                self.evidence.omitted += 1
                return
            known = rows[key] = row
        known.count += 1
        known.first = min(known.first or at, at)
        known.last = max(known.last, at)


def _workload_of(record: Mapping[str, Any]) -> tuple[str, str]:
    """Return kind and name of what was refused: of the owner where it is a controller's Pod."""
    kind, separator, name = _text(record, "owner").partition("/")
    if separator:
        return kind, name
    kind, name = _text(record, "kind"), _text(record, "object")
    if kind == "Pod" and _CONTROLLERS.fullmatch(_text(record, "user")):
        name = f"{_GENERATED.sub('', name.removesuffix('-*'))}-*"
    return kind, name


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
            glass.namespace,
            f"{glass.kind}/{glass.object}",
            ", ".join(glass.images),
            "",
            "",
            glass.user,
            1,
            glass.at,
            glass.at,
            glass.reason,
        )
        for glass in evidence.glass
    ]
    return write_csv(COLUMNS, rows)


def _text(record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    return printable(value, MAX_TEXT) if isinstance(value, str) else ""
