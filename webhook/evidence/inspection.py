"""Inspects all evidence of images: the tag detail and the signatures, whichever of them counts.

An image is looked up under variants of its registry with other evidence. Lookups of variants use the queue,
the retries and the circuit breaker as all others do, and the rate limit of the account.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from webhook.errors import Fault, TrustLookupError
from webhook.registries import Evidence, Registry, SignatureSettings
from webhook.signatures.check import SignatureCheck, SignatureResult
from webhook.trust.lookup import Failed, Found, LookupRequest, LookupResult
from webhook.trust.records import TrustQuery, TrustRecord, TrustStatus

LookUp = Callable[[Sequence[LookupRequest]], Sequence[LookupResult]]
"""Returns the results of lookups, in their order."""

_NO_KEYS: Final = SignatureSettings(())


@dataclass(frozen=True, slots=True)
class Inspection:
    """The evidence of one image. ``None`` means that it is not known.

    ``is_marked`` is whether SWR's tag detail says ``is_trusted: true``; SWR Enterprise has none.
    ``is_signed`` is whether enough of the configured keys have signed. If no key is configured, it is not
    known of an image with signatures. ``signature`` is what was found. ``failures`` are the reasons why
    something is not known.
    """

    exists: bool | None = None
    is_marked: bool | None = None
    is_signed: bool | None = None
    signature: SignatureCheck | None = None
    failures: tuple[TrustLookupError, ...] = ()

    def is_denied(self, evidence: Evidence) -> bool | None:
        """Return whether the image would be denied under this evidence."""
        if self.exists is False:
            return True
        proofs: dict[Evidence, tuple[bool | None, ...]] = {
            Evidence.TAG_DETAIL: (self.is_marked,),
            Evidence.SIGNATURE: (self.is_signed,),
            Evidence.BOTH: (self.is_marked, self.is_signed),
        }
        if False in proofs[evidence]:
            return True
        return None if None in proofs[evidence] else False


Known = tuple[TrustQuery, LookupResult | None]
"""A query about an image of a configured registry, and its result if it was looked up already."""


class Inspector:
    """Inspects images through the lookup of a ``TrustService``."""

    def __init__(self, look_up: LookUp, reads_signatures: Callable[[Registry], bool]) -> None:
        """Look images up with ``look_up``.

        ``reads_signatures`` says for which registries signatures are read although the evidence of an image
        may not need them.
        """
        self._look_up = look_up
        self._reads_signatures = reads_signatures

    def inspect(self, images: Sequence[Known]) -> list[Inspection]:
        """Return the inspection of each image, in their order.

        An image whose lookup has failed already is not looked up again.
        """
        inspections = [_read(query.registry, result) for query, result in images]
        queries = [query for query, _ in images]
        pending = [index for index, (_, result) in enumerate(images) if not isinstance(result, Failed)]
        unsigned = [index for index in pending if self._lacks_signature(inspections[index], queries[index])]
        self._complete(inspections, queries, unsigned, for_signatures)
        unread = [index for index in unsigned if _needs_fewer(inspections[index], queries[index])]
        self._complete(inspections, queries, unread, for_enough_signatures)
        unmarked = [index for index in pending if _lacks_mark(inspections[index], queries[index])]
        self._complete(inspections, queries, unmarked, for_tag_detail)
        return inspections

    def _complete(
        self,
        inspections: list[Inspection],
        queries: Sequence[TrustQuery],
        places: Sequence[int],
        vary: Callable[[Registry], Registry],
    ) -> None:
        """Look up the images at ``places`` under variants of their registries."""
        if not places:
            return
        variants = [replace(queries[index], registry=vary(queries[index].registry)) for index in places]
        results = self._look_up([LookupRequest(query) for query in variants])
        for index, result in zip(places, results, strict=True):
            inspections[index] = _merge(inspections[index], _read(queries[index].registry, result))

    def _lacks_signature(self, known: Inspection, query: TrustQuery) -> bool:
        if known.exists is False or known.signature is not None:
            return False
        return self._reads_signatures(query.registry)


def _needs_fewer(known: Inspection, query: TrustQuery) -> bool:
    """Whether some signature of the image cannot be read, and the others may suffice."""
    is_image = any(failure.fault is Fault.IMAGE for failure in known.failures)
    settings = query.registry.signatures
    return is_image and known.signature is None and settings is not None and bool(settings.counting)


def _lacks_mark(known: Inspection, query: TrustQuery) -> bool:
    return not query.registry.is_enterprise and known.exists is not False and known.is_marked is None


def for_signatures(registry: Registry) -> Registry:
    """Return the variant of a registry under which all signatures of an image are read.

    More keys would have to sign than there are. So the search does not end before each signer is known, and
    no image of the variant is trusted.
    """
    settings = registry.signatures if registry.signatures is not None else _NO_KEYS
    settings = replace(settings, threshold=len(settings.keys) + 1)
    return replace(registry, evidence=Evidence.SIGNATURE, signatures=settings)


def for_enough_signatures(registry: Registry) -> Registry:
    """Return the variant of a registry under which signatures are read until enough keys have signed."""
    return replace(registry, evidence=Evidence.SIGNATURE)


def for_tag_detail(registry: Registry) -> Registry:
    """Return the variant of a registry of SWR Basic under which only the tag detail is read."""
    return replace(registry, evidence=Evidence.TAG_DETAIL, signatures=None)


def _read(registry: Registry, result: LookupResult | None) -> Inspection:
    """Return what a lookup has found under ``registry``, as it is configured, or under a variant of it."""
    match result:
        case None:
            return Inspection()
        case Failed(failure):
            return Inspection(failures=(failure,))
        case Found(record):
            return _read_record(record, registry.signatures or _NO_KEYS)


def _read_record(record: TrustRecord, settings: SignatureSettings) -> Inspection:
    if record.status is TrustStatus.MISSING:
        return Inspection(exists=False)
    check = record.signature
    if check is None:
        return Inspection(exists=True, is_marked=record.status is TrustStatus.TRUSTED)
    is_signed: bool | None
    if settings.keys or not check.found:
        enough = 1 <= settings.threshold <= len(set(check.signers))
        is_signed = check.result is SignatureResult.SIGNED or enough
    else:
        is_signed = None
    return Inspection(exists=True, is_marked=record.is_marked, is_signed=is_signed, signature=check)


def _merge(first: Inspection, second: Inspection) -> Inspection:
    """Return what two lookups of one image have found; the second one is newer.

    Once its signatures are known, it does not matter why they could not be read before.
    """
    return Inspection(
        second.exists if second.exists is not None else first.exists,
        second.is_marked if second.is_marked is not None else first.is_marked,
        second.is_signed if second.is_signed is not None else first.is_signed,
        second.signature if second.signature is not None else first.signature,
        second.failures if second.signature is not None else (*first.failures, *second.failures),
    )
