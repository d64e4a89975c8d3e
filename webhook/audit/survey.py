"""The survey: counts for which running images there is which evidence, by registry and namespace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from webhook.admission.messages import printable
from webhook.audit.coverage import MAX_IMAGE
from webhook.evidence.inspection import Inspection
from webhook.registries import Evidence, Registry
from webhook.trust.records import TrustQuery

MAX_IMAGES: Final = 20_000
"""Distinct images of a survey; more are counted as left out."""

MAX_FAILURES: Final = 100
"""Different causes of failures that are counted."""


class TagCall(StrEnum):
    """Whether a registry offers the call for one tag (ShowRepoTag). Stable: a value of JSON."""

    PUBLISHED = "published"
    UNPUBLISHED = "unpublished"
    """Tag lists are used instead."""
    UNKNOWN = "unknown"


class ProjectIdAnswer(StrEnum):
    """How SWR answers a call with, or without, a project ID. Stable: a value of JSON."""

    ANSWERED = "answered"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    NOT_TRIED = "not-tried"


@dataclass(frozen=True, slots=True)
class ProjectIds:
    """Which project ID works; ``configured`` is ``None`` if none is configured."""

    configured: ProjectIdAnswer | None
    none: ProjectIdAnswer


@dataclass(slots=True)
class SurveyedImage:
    """A distinct image, and the namespaces in which it runs."""

    query: TrustQuery
    inspection: Inspection
    namespaces: set[str] = field(default_factory=set)

    @property
    def image(self) -> str:
        """The image as users write it, printable."""
        return printable(str(self.query), MAX_IMAGE)


@dataclass(slots=True)
class EvidenceCounts:
    """Numbers of distinct images.

    ``missing`` images do not exist in the registry. ``with_signatures`` have signatures, verified or not.
    Of ``unknown`` images something is not known. ``denied`` and ``passing`` count the images that each
    evidence would deny and accept; each denies ``missing`` images. ``signers`` counts the images that a key
    has signed, ``formats`` those whose signatures count, ``stored_formats`` those with any signatures.
    """

    images: int = 0
    missing: int = 0
    existing: int = 0
    marked: int = 0
    with_signatures: int = 0
    signed: int = 0
    unknown: int = 0
    denied: Counter[Evidence] = field(default_factory=Counter)
    passing: Counter[Evidence] = field(default_factory=Counter)
    signers: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    stored_formats: Counter[str] = field(default_factory=Counter)

    def denied_existing(self, evidence: Evidence) -> int:
        """Return how many images that exist an evidence would deny."""
        return self.denied[evidence] - self.missing

    def undetermined(self, evidence: Evidence) -> int:
        """Return for how many images it is not known whether an evidence would deny them."""
        return self.images - self.denied[evidence] - self.passing[evidence]


@dataclass(slots=True)
class RegistrySurvey:
    """The survey of one registry of the configuration.

    ``reads_signatures`` says whether signatures were looked for. ``failures`` are the reasons why something
    is not known, with the number of images. ``namespaces`` and ``images`` are sorted by name.
    """

    registry: Registry
    reads_signatures: bool
    counts: EvidenceCounts = field(default_factory=EvidenceCounts)
    namespaces: list[tuple[str, EvidenceCounts]] = field(default_factory=list)
    images: list[SurveyedImage] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    tag_call: TagCall = TagCall.UNKNOWN
    project_ids: ProjectIds | None = None

    @property
    def label(self) -> str:
        """The name of the registry, with the organizations to which it is limited."""
        return self.registry.label

    @property
    def candidates(self) -> tuple[Evidence, ...]:
        """Every evidence that can be recommended for the registry, the strictest first."""
        if self.registry.is_enterprise:
            return (Evidence.SIGNATURE,)
        if self.reads_signatures and self.has_keys:
            return (Evidence.BOTH, Evidence.SIGNATURE, Evidence.TAG_DETAIL)
        return (Evidence.TAG_DETAIL,)

    @property
    def has_keys(self) -> bool:
        """Whether keys are configured, by which signatures can be verified."""
        return bool(self.registry.signing_keys)

    @property
    def unusable_keys(self) -> tuple[str, ...]:
        """The names of configured keys that do not count now: lapsed, or their files cannot be used."""
        return tuple(key.name for key in self.registry.signing_keys if not key.content)


class Survey:
    """Collects the inspections of running images."""

    def __init__(self) -> None:
        """Begin without any image."""
        self._images: dict[Registry, dict[tuple[str, ...], SurveyedImage]] = {}
        self._size = 0
        self.omitted = 0
        """Images of one namespace that were not added, because there are too many."""

    @property
    def is_full(self) -> bool:
        """Whether no other image is added."""
        return self._size >= MAX_IMAGES

    def find(self, query: TrustQuery) -> SurveyedImage | None:
        """Return an image that was added."""
        return self._images.get(query.registry, {}).get(query.key)

    def add(self, namespace: str, query: TrustQuery, inspection: Inspection | None) -> None:
        """Add an image that runs in a namespace; ``inspection`` is needed for the first one only."""
        found = self.find(query)
        if found is None:
            if inspection is None:
                self.omitted += 1
                return
            self._size += 1
            found = SurveyedImage(query, inspection)
            self._images.setdefault(query.registry, {})[query.key] = found
        found.namespaces.add(namespace)

    def finish(self, registries: Iterable[Registry], reading: Sequence[Registry]) -> list[RegistrySurvey]:
        """Return the survey of each registry, in their order; signatures were looked for in ``reading``."""
        surveys = []
        for registry in registries:
            images = sorted(self._images.get(registry, {}).values(), key=lambda one: one.image)
            survey = RegistrySurvey(registry, registry in reading, images=images)
            survey.counts = _count(images, survey)
            by_namespace: dict[str, list[SurveyedImage]] = {}
            for one in images:
                for namespace in one.namespaces:
                    by_namespace.setdefault(namespace, []).append(one)
                for detail in {printable(error.detail, MAX_IMAGE) for error in one.inspection.failures}:
                    if detail in survey.failures or len(survey.failures) < MAX_FAILURES:
                        survey.failures[detail] += 1
            survey.namespaces = [(name, _count(by_namespace[name], survey)) for name in sorted(by_namespace)]
            surveys.append(survey)
        return surveys


def find_without(
    surveys: Sequence[RegistrySurvey], configured: Collection[Evidence], proof: Evidence
) -> list[tuple[str, int]]:
    """Return the registries with a ``configured`` evidence that have images, none of which has the ``proof``.

    The number is that of the images about which the registry answered. Registries of one name are one.
    """
    chosen = [one for one in surveys if one.registry.evidence in configured]
    found = []
    for name in sorted({one.registry.name for one in chosen}):
        counts = [one.counts for one in chosen if one.registry.name == name]
        existing = sum(one.existing for one in counts)
        without = sum(one.denied_existing(proof) for one in counts)
        if existing and without == existing:
            found.append((name, existing + sum(one.missing for one in counts)))
    return found


def _count(images: Iterable[SurveyedImage], survey: RegistrySurvey) -> EvidenceCounts:
    counts = EvidenceCounts()
    for one in images:
        found = one.inspection
        counts.images += 1
        counts.missing += found.exists is False
        counts.existing += found.exists is True
        counts.marked += found.is_marked is True
        counts.signed += found.is_signed is True
        counts.unknown += _has_unknown(found, survey)
        for evidence in Evidence:
            is_denied = found.is_denied(evidence)
            counts.denied[evidence] += is_denied is True
            counts.passing[evidence] += is_denied is False
        check = found.signature
        if check is not None:
            counts.with_signatures += bool(check.found)
            counts.signers.update(set(check.signers))
            counts.formats.update(set(check.formats))
            counts.stored_formats.update(set(check.stored))
    return counts


def _has_unknown(found: Inspection, survey: RegistrySurvey) -> bool:
    if found.exists is not True:
        return found.exists is None
    if survey.reads_signatures and found.signature is None:
        return True
    return found.is_marked is None and not survey.registry.is_enterprise
