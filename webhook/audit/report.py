"""What an audit found, and its verdict in words."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from webhook.audit.pods import Workload
from webhook.policy.findings import Finding, Mode

MAX_ROWS: Final = 20_000
"""Rows of each list; more are counted and not kept."""

MAX_NAMED: Final = 20
"""Excluded namespaces that a sentence names; JSON has all of them."""


class Result(StrEnum):
    """What policy reports call a finding; also the ``result`` of a metric."""

    PASS = "pass"  # noqa: S105 - no password
    SKIP = "skip"
    """Exempt."""
    WARN = "warn"
    """Let through by a mode, by ``unmanagedRegistries`` or the like."""
    FAIL = "fail"
    """Denied today, if it were created again."""
    ERROR = "error"
    """SWR could not be asked."""


@dataclass(slots=True)
class FindingRow:
    """One image of one workload with one finding that refuses or warns.

    ``refused`` is what ``enforce`` would do, ``enforced`` what the policy's modes do today.
    ``example`` is the name of one of the ``pods`` Pods.
    """

    namespace: str
    workload: Workload
    field: str
    image: str
    finding: Finding
    reason: str
    mode: Mode
    refused: bool
    enforced: bool
    message: str
    advice: str
    example: str
    pods: int = 0

    @property
    def result(self) -> Result:
        """What policy reports call it."""
        if self.finding is Finding.UNKNOWN:
            return Result.ERROR
        return Result.FAIL if self.enforced else Result.WARN


@dataclass(slots=True)
class DriftRow:
    """A node runs another image than its tag names in SWR now."""

    namespace: str
    workload: Workload
    image: str
    running: str
    current: str
    finding: Finding
    example: str
    pods: int = 0


@dataclass(slots=True)
class ExpiringExemptionRow:
    """An image that is admitted only by an exemption that ends soon, and what it would be then."""

    namespace: str
    workload: Workload
    image: str
    exemption: str
    ends: dt.datetime
    finding: Finding
    message: str
    pods: int = 0


@dataclass(slots=True)
class NamespaceRow:
    """One namespace in figures: Pods; ``findings`` and ``results`` count uses of images."""

    name: str
    pods: int = 0
    refused: int = 0
    unknown: int = 0
    enforced: int = 0
    findings: Counter[Finding] = field(default_factory=Counter)
    results: Counter[Result] = field(default_factory=Counter)


@dataclass(slots=True)
class AuditReport:
    """The result. Lists are sorted; a report with ``gaps`` is partial.

    Figures count Pods unless they say otherwise. ``unknown`` is how many of the ``refused`` are so
    only because SWR could not be asked. ``never_trusted`` names registries that answered and
    called no image trusted. ``findings`` counts uses of images. ``failures`` says why SWR could not
    be asked, with the number of distinct images.
    """

    started: dt.datetime
    policy: str
    mode: Mode
    pods: int = 0
    static: int = 0
    excluded: int = 0
    refused: int = 0
    unknown: int = 0
    enforced: int = 0
    images_asked: int = 0
    images_seen: int = 0
    seconds: float = 0.0
    omitted: int = 0
    excluded_namespaces: tuple[str, ...] = ()
    rows: list[FindingRow] = field(default_factory=list)
    drift: list[DriftRow] = field(default_factory=list)
    endings: list[ExpiringExemptionRow] = field(default_factory=list)
    namespaces: list[NamespaceRow] = field(default_factory=list)
    findings: Counter[Finding] = field(default_factory=Counter)
    never_trusted: list[tuple[str, int]] = field(default_factory=list)
    failures: list[tuple[str, int]] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_partial(self) -> bool:
        """Whether Pods are missing from it."""
        return bool(self.gaps)

    @property
    def verdict(self) -> str:
        """The result in a sentence without a full stop."""
        if not self.pods:
            return "no Pods were seen, so nothing can be said"
        seen = f"{self.pods} Pods" if not self.is_partial else f"the {self.pods} Pods that were seen"
        if not self.refused:
            return f"enforcing now would deny none of {seen}"
        spaces = sum(1 for row in self.namespaces if row.refused)
        return f"enforcing now would deny {self.refused} of {seen} in {count(spaces, 'namespace')}"

    @property
    def remarks(self) -> list[str]:
        """What belongs beside the verdict, the most important first; whole sentences."""
        remarks = [f"This report is PARTIAL: {gap}." for gap in self.gaps]
        remarks += [
            f"NO IMAGE IS TRUSTED: {registry} answered for {count(images, 'image')} and marks none of them "
            "as trusted. SWR does not document what sets the mark: find out how your account sets it before "
            "you enforce, or every image from there is denied."
            for registry, images in self.never_trusted
        ]
        if self.unknown:
            remarks.append(
                f"{_pods(self.unknown)} would be denied only because SWR could not be queried; "
                "run swr-trust doctor, then audit again."
            )
        remarks += [
            f"SWR could not be queried about {count(images, 'image')}: {detail}."
            for detail, images in self.failures
        ]
        if self.refused != self.enforced:
            remarks.append(
                f"With the policy's modes as they are (mode {self.mode}), "
                f"{_pods(self.enforced)} would be denied."
            )
        if self.drift:
            pods = sum(row.pods for row in self.drift)
            remarks.append(
                f"Running another image than the tag names in SWR now: {_pods(pods)}. "
                "SWR's mark of the tag does not apply to the running image."
            )
        if self.endings:
            pods = sum(row.pods for row in self.endings)
            remarks.append(f"Running only by an exemption that ends within 30 days: {_pods(pods)}.")
        if self.static:
            remarks.append(f"Static, so that nodes run them without admission: {_pods(self.static)}.")
        if self.excluded:
            names = ", ".join(self.excluded_namespaces[:MAX_NAMED])
            if len(self.excluded_namespaces) > MAX_NAMED:
                names += f" and {len(self.excluded_namespaces) - MAX_NAMED} more"
            remarks.append(f"Left out, in excluded namespaces ({names}): {_pods(self.excluded)}.")
        if self.omitted:
            remarks.append(f"{self.omitted} more rows are counted but not listed.")
        return [*remarks, *(f"{note}." for note in self.notes)]


def sort_report(report: AuditReport, namespaces: Iterable[NamespaceRow]) -> None:
    """Bring all lists into the order in which they are shown."""
    report.rows.sort(key=lambda row: (not row.refused, row.namespace, row.workload, row.image))
    report.drift.sort(key=lambda row: (row.namespace, row.workload, row.image))
    report.endings.sort(key=lambda row: (row.ends, row.namespace, row.workload, row.image))
    report.namespaces = sorted(namespaces, key=lambda row: (-row.refused, row.name))


def count(number: int, noun: str) -> str:
    """Return a number of things in words: ``1 image``, ``2 images``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _pods(number: int) -> str:
    return count(number, "Pod")
