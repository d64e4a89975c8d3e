"""The results of the checks of an image that need no lookup."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from webhook.admission.decision import CheckResult
from webhook.images.reference import ImageReference
from webhook.policy.findings import Mode
from webhook.policy.model import Exemption, Rule
from webhook.registries import Registry
from webhook.swr.naming import check_names, split_path
from webhook.trust.lookup import LookupRequest
from webhook.trust.records import TrustQuery
from webhook.trust.replication import Key


@dataclass(frozen=True, slots=True)
class ParsedImage:
    """An image string, parsed.

    ``reference`` is ``None`` if ``invalid``, the reason, is set. ``query`` is ``None`` if the image is not in
    a configured registry.
    """

    reference: ImageReference | None
    query: TrustQuery | None
    invalid: str = ""


LookupKey = tuple[Key, str | None]
"""The identity of a lookup: the query and the digest that the image pins."""


class LocalCheck(msgspec.Struct, frozen=True):
    """The outcome of the local checks of an image: their result, or the lookup that is still needed.

    ``mode`` is that of the rule. ``key`` is the identity of the lookup: the image and the digest that it is
    pinned to. ``is_to_pin`` marks an image by tag that the policy pins. ``needs_digest`` marks one that a
    webhook should have pinned before, because its rule admits only digests.
    """

    reference: ImageReference | None
    mode: Mode
    rule: Rule | None = None
    exemption: Exemption | None = None
    check: CheckResult | None = None
    lookup: LookupRequest | None = None
    key: LookupKey | None = None
    is_to_pin: bool = False
    needs_digest: bool = False


def make_query(reference: ImageReference, registry: Registry) -> TrustQuery:
    """Return the query for an image of a configured registry.

    Raises:
        InvalidReferenceError: the image's path does not follow SWR's naming rules. Those of SWR Enterprise
            are the rules of image references.
    """
    organization, repository = split_path(reference.path)
    if not registry.is_enterprise:
        check_names(organization, repository)
    if reference.tag is None:
        return TrustQuery(registry, organization, repository, digest=reference.digest)
    return TrustQuery(registry, organization, repository, tag=reference.tag)
