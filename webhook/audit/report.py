"""The report of an audit, and its verdict and remarks as text."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from webhook.audit.coverage import Coverage
from webhook.audit.pods import Workload
from webhook.audit.survey import RegistrySurvey
from webhook.audit.survey_texts import recommendation
from webhook.policy.findings import Finding, Mode

MAX_ROWS: Final = 20_000
"""Rows of each list; more are counted and not kept."""

MAX_NAMED: Final = 20
"""Excluded namespaces that a remark names; JSON has all of them."""


class Result(StrEnum):
    """The result of a finding in policy reports; also the label ``result`` of a metric."""

    PASS = "pass"  # noqa: S105 - no password
    SKIP = "skip"
    """Exempt."""
    WARN = "warn"
    """Admitted because of a mode, ``unmanagedRegistries`` or another setting."""
    FAIL = "fail"
    """Would be denied now, if it were created again."""
    ERROR = "error"
    """SWR could not be queried."""


class Drift(StrEnum):
    """How a running image differs from the Pod or from SWR, the severest first.

    Also the label ``reason`` of a metric.
    """

    OTHER_THAN_PINNED = "other-than-pinned"
    """The Pod pins a digest, and the node reports another one."""
    MOVED = "moved"
    """The Pod names only the tag, which has another digest in SWR now."""
    SUPERSEDED = "superseded"
    """The node runs the digest that the Pod pins, and the tag has another one in SWR now."""


_DRIFT_REMARKS: Final[Mapping[Drift, str]] = {
    Drift.OTHER_THAN_PINNED: "NOT THE PINNED IMAGE: nodes report another digest than the pinned one for {}. "
    "What runs there may never have been evaluated. Find out whether both digests are the same image.",
    Drift.MOVED: "Running another image than the tag names in SWR now: {}. "
    "SWR's mark of the tag does not apply to the running image.",
    Drift.SUPERSEDED: "Pinned to an image that its tag no longer names in SWR: {}. "
    "They run what they pin; restart their workloads to run the new image.",
}


@dataclass(slots=True)
class FindingRow:
    """One image of one workload with one finding that denies or warns.

    ``refused`` says whether mode ``enforce`` would deny it, ``enforced`` whether the policy's current modes
    do. ``example`` is the name of one of the ``pods`` Pods. ``signers`` are the keys that have signed, as far
    as signatures were looked at.
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
    signers: tuple[str, ...] = ()

    @property
    def result(self) -> Result:
        """The result in policy reports."""
        if self.finding is Finding.UNKNOWN:
            return Result.ERROR
        return Result.FAIL if self.enforced else Result.WARN


@dataclass(slots=True)
class DriftRow:
    """An image whose running digest differs from the pinned one, or from the digest of its tag in SWR.

    ``current`` is the digest in SWR, ``""`` if SWR has named none.
    """

    namespace: str
    workload: Workload
    image: str
    reason: Drift
    running: str
    current: str
    finding: Finding
    example: str
    pods: int = 0

    @property
    def message(self) -> str:
        """The difference, a clause without a full stop."""
        match self.reason:
            case Drift.MOVED:
                return f"a node runs {self.running}, SWR holds {self.current}"
            case Drift.SUPERSEDED:
                return f"a node runs the pinned digest, SWR holds {self.current}"
            case _:
                return f"a node reports {self.running} instead of the pinned digest"


@dataclass(slots=True)
class ExpiringExemptionRow:
    """An image that only an expiring exemption admits, and its finding after the end."""

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
    """The figures of one namespace: numbers of Pods; ``findings`` and ``results`` count image uses."""

    name: str
    pods: int = 0
    refused: int = 0
    unknown: int = 0
    enforced: int = 0
    findings: Counter[Finding] = field(default_factory=Counter)
    results: Counter[Result] = field(default_factory=Counter)


@dataclass(slots=True)
class AuditReport(Coverage):
    """The report of an audit. Lists are sorted.

    Numbers count Pods unless stated otherwise. ``refused`` Pods would be denied in mode ``enforce``;
    ``unknown`` of them only because SWR could not be queried. ``never_trusted`` names registries that
    answered, and whose images need a mark and have none; ``never_signed`` is the same for signatures.
    ``findings`` counts image uses. ``failures`` lists why SWR could not be queried, with the number of
    distinct images. ``survey`` has an entry for each registry.
    """

    refused: int = 0
    unknown: int = 0
    enforced: int = 0
    images_looked_up: int = 0
    images_seen: int = 0
    omitted: int = 0
    rows: list[FindingRow] = field(default_factory=list)
    drift: list[DriftRow] = field(default_factory=list)
    endings: list[ExpiringExemptionRow] = field(default_factory=list)
    namespaces: list[NamespaceRow] = field(default_factory=list)
    findings: Counter[Finding] = field(default_factory=Counter)
    never_trusted: list[tuple[str, int]] = field(default_factory=list)
    never_signed: list[tuple[str, int]] = field(default_factory=list)
    survey: list[RegistrySurvey] = field(default_factory=list)
    failures: list[tuple[str, int]] = field(default_factory=list)

    @property
    def recommended(self) -> list[RegistrySurvey]:
        """The surveys of the registries whose signatures were looked for, and of which images run."""
        return [one for one in self.survey if one.reads_signatures and one.images]

    def drifted(self, reason: str) -> list[DriftRow]:
        """Return the rows of ``drift`` with this reason."""
        return [row for row in self.drift if row.reason == reason]

    def drifted_pods(self, reason: str) -> int:
        """Return the number of Pods in the rows of ``drift`` with this reason."""
        return sum(row.pods for row in self.drifted(reason))

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
    def headline(self) -> str:
        """The verdict, with a mark if the report is partial."""
        return f"{self.verdict} (PARTIAL)" if self.is_partial else self.verdict

    @property
    def remarks(self) -> list[str]:
        """Sentences that complete the verdict, the most important first."""
        remarks = [f"This report is PARTIAL: {gap}." for gap in self.gaps]
        remarks += [
            f"NO IMAGE IS TRUSTED: {registry} answered for {count(images, 'image')} and marks none of them "
            "as trusted. SWR does not document what sets the mark: find out how your account sets it before "
            "you enforce, or every image from there is denied. swr-trust survey shows whether signatures can "
            "be the evidence instead."
            for registry, images in self.never_trusted
        ]
        remarks += [
            f"NO IMAGE IS SIGNED: {registry} answered for {count(images, 'image')}, and none is signed by "
            "enough of the configured keys. Sign the images and check signatures.keys before you enforce, or "
            "every image from there is denied."
            for registry, images in self.never_signed
        ]
        remarks += self._drift_remarks(Drift.OTHER_THAN_PINNED)
        if self.unknown:
            remarks.append(
                f"{_pods(self.unknown)} would be denied only because SWR could not be queried; "
                "run swr-trust doctor, then audit again."
            )
        remarks += [
            f"SWR could not be queried about {count(images, 'image')}: {detail}."
            for detail, images in self.failures
        ]
        remarks += [f"Evidence of {one.label}: {recommendation(one, self.mode)}" for one in self.recommended]
        if self.refused != self.enforced:
            remarks.append(
                f"With the policy's modes as they are (mode {self.mode}), "
                f"{_pods(self.enforced)} would be denied."
            )
        remarks += self._drift_remarks(Drift.MOVED, Drift.SUPERSEDED)
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

    def _drift_remarks(self, *reasons: Drift) -> list[str]:
        numbers = {reason: self.drifted_pods(reason) for reason in reasons}
        return [_DRIFT_REMARKS[reason].format(_pods(pods)) for reason, pods in numbers.items() if pods]


def sort_report(report: AuditReport, namespaces: Iterable[NamespaceRow]) -> None:
    """Sort all lists for display."""
    report.rows.sort(key=lambda row: (not row.refused, row.namespace, row.workload, row.image))
    severest_first = tuple(Drift)
    report.drift.sort(
        key=lambda row: (severest_first.index(row.reason), row.namespace, row.workload, row.image)
    )
    report.endings.sort(key=lambda row: (row.ends, row.namespace, row.workload, row.image))
    report.namespaces = sorted(namespaces, key=lambda row: (-row.refused, row.name))


def count(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 image``, ``2 images``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _pods(number: int) -> str:
    return count(number, "Pod")
