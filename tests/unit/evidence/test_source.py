"""The evidence of a registry decides: the tag detail, signatures, or both."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from tests.support.builders import DIGEST, NOW, OTHER_DIGEST, enterprise_registry, registry
from tests.support.fakes import FakeClock, FakeTrustSource, RecorderSpy, free
from webhook.deadlines import Deadline
from webhook.errors import Forbidden, MalformedAnswer, RegistryUnavailable, TrustLookupError
from webhook.evidence.inspection import for_signatures
from webhook.evidence.source import EvidenceSource
from webhook.registries import Evidence, Registry, SignatureSettings, SigningKey
from webhook.signatures.check import SignatureCheck, SignatureResult
from webhook.trust.records import CallLimiter, TrustQuery, TrustRecord, TrustStatus, Unlimited
from webhook.trust.settings import CacheSettings

KEYS = SignatureSettings((SigningKey("release", "/keys/release.pub", content=b"release"),))
SIGNED = SignatureCheck(SignatureResult.SIGNED, NOW, signers=("release",), formats=("simple-signing",))
UNSIGNED = SignatureCheck(SignatureResult.UNSIGNED, NOW)
SOON = Deadline(1e9)

TAG_DETAIL = registry()
SIGNATURE = registry(evidence=Evidence.SIGNATURE, signatures=KEYS)
BOTH = registry(evidence=Evidence.BOTH, signatures=KEYS)
ENTERPRISE = enterprise_registry(signatures=KEYS)


class FakeRegistries:
    """Implements ``RegistryClients`` for one registry, its manifests and its signatures.

    ``tags`` are digests by tag; ``checks`` are by digest, or failures. ``asked`` lists what was asked.
    """

    def __init__(self) -> None:
        self.tags: dict[str, str | TrustLookupError] = {}
        self.checks: dict[str, SignatureCheck | TrustLookupError] = {}
        self.asked: list[str] = []
        self.kept: list[Registry] = []
        self.answers: list[bool] = []

    def client(self, registry: Registry) -> FakeRegistries:
        return self

    def lookup(self, registry: Registry) -> FakeRegistries:
        return self

    def retain(self, registries: Collection[Registry]) -> None:
        self.kept = list(registries)

    def resolve_tag(
        self, repository: str, tag: str, deadline: Deadline, call_limiter: CallLimiter
    ) -> str | None:
        self.asked.append(f"{repository}:{tag}")
        found = self.tags.get(tag)
        if isinstance(found, TrustLookupError):
            raise found
        return found

    def has_manifest(
        self, repository: str, digest: str, deadline: Deadline, call_limiter: CallLimiter
    ) -> bool:
        self.asked.append(f"{repository}@{digest[:8]}")
        return digest in self.tags.values()

    def check(
        self, repository: str, digest: str, deadline: Deadline, call_limiter: CallLimiter
    ) -> SignatureCheck:
        self.asked.append(f"signatures of {repository}@{digest[:8]}")
        call_limiter.record_answer()
        found = self.checks.get(digest, UNSIGNED)
        if isinstance(found, TrustLookupError):
            raise found
        return found


class Setting:
    """A source over fakes."""

    def __init__(self) -> None:
        self.clock = FakeClock(NOW)
        self.details = FakeTrustSource({}, self.clock)
        self.registries = FakeRegistries()
        self.recorder = RecorderSpy()
        self.source = EvidenceSource(
            self.details, self.registries, self.recorder, CacheSettings(), self.clock
        )

    def fetch(
        self, registry: Registry, tag: str | None = "1", limiter: CallLimiter = free, **rest: Any
    ) -> TrustRecord:
        query = TrustQuery(registry, "shop", "web", tag=tag, **rest)
        return self.source.fetch(query, SOON, limiter)


@pytest.fixture
def setting() -> Setting:
    return Setting()


@pytest.mark.parametrize(
    ("evidence", "detail", "check", "status", "reason"),
    [
        (TAG_DETAIL, TrustStatus.TRUSTED, UNSIGNED, TrustStatus.TRUSTED, ""),
        (TAG_DETAIL, TrustStatus.UNTRUSTED, SIGNED, TrustStatus.UNTRUSTED, ""),
        (SIGNATURE, TrustStatus.UNTRUSTED, SIGNED, TrustStatus.TRUSTED, ""),
        (SIGNATURE, TrustStatus.TRUSTED, SIGNED, TrustStatus.TRUSTED, ""),
        (SIGNATURE, TrustStatus.TRUSTED, UNSIGNED, TrustStatus.UNTRUSTED, "unsigned"),
        (SIGNATURE, TrustStatus.MISSING, SIGNED, TrustStatus.MISSING, ""),
        (BOTH, TrustStatus.TRUSTED, SIGNED, TrustStatus.TRUSTED, ""),
        (BOTH, TrustStatus.UNTRUSTED, SIGNED, TrustStatus.UNTRUSTED, ""),
        (BOTH, TrustStatus.TRUSTED, UNSIGNED, TrustStatus.UNTRUSTED, "unsigned"),
        (BOTH, TrustStatus.MISSING, SIGNED, TrustStatus.MISSING, ""),
    ],
)
def test_image_is_trusted_if_the_evidence_of_its_registry_says_so(
    setting: Setting,
    evidence: Registry,
    detail: TrustStatus,
    check: SignatureCheck,
    status: TrustStatus,
    reason: str,
) -> None:
    setting.details.facts["shop/web:1"] = detail
    setting.registries.checks[DIGEST] = check
    record = setting.fetch(evidence)
    assert (record.status, record.untrusted_reason) == (status, reason)


@pytest.mark.parametrize("result", list(SignatureResult))
def test_only_signed_makes_an_image_trusted(setting: Setting, result: SignatureResult) -> None:
    setting.details.facts["shop/web:1"] = TrustStatus.TRUSTED
    setting.registries.checks[DIGEST] = SignatureCheck(result, NOW)
    record = setting.fetch(SIGNATURE)
    assert (record.status is TrustStatus.TRUSTED) is (result is SignatureResult.SIGNED)
    assert record.signature == SignatureCheck(result, NOW)


@pytest.mark.parametrize(
    ("evidence", "detail", "asked"),
    [
        (TAG_DETAIL, TrustStatus.TRUSTED, []),
        (SIGNATURE, TrustStatus.MISSING, []),
        (BOTH, TrustStatus.UNTRUSTED, []),
        (BOTH, TrustStatus.TRUSTED, ["signatures of shop/web@sha256:a"]),
    ],
)
def test_signatures_are_read_only_if_they_decide(
    setting: Setting, evidence: Registry, detail: TrustStatus, asked: list[str]
) -> None:
    setting.details.facts["shop/web:1"] = detail
    setting.fetch(evidence)
    assert setting.registries.asked == asked


def test_signed_digest_is_verified_once_for_all_its_tags(setting: Setting) -> None:
    """A tag in use is looked up every minute, its signature once an hour."""
    setting.details.facts |= {"shop/web:1": TrustStatus.UNTRUSTED, "shop/web:2": TrustStatus.UNTRUSTED}
    setting.registries.checks[DIGEST] = SIGNED
    for tag in ("1", "2", "1"):
        assert setting.fetch(SIGNATURE, tag).status is TrustStatus.TRUSTED
    assert setting.registries.asked == ["signatures of shop/web@sha256:a"]
    assert setting.recorder.named("signature_checked") == [(SIGNATURE.name, "signed")]


def test_tag_that_moves_is_judged_anew(setting: Setting) -> None:
    setting.registries.checks[DIGEST] = SIGNED
    setting.details.facts["shop/web:1"] = TrustRecord(TrustStatus.UNTRUSTED, NOW, DIGEST)
    assert setting.fetch(SIGNATURE).status is TrustStatus.TRUSTED
    setting.details.facts["shop/web:1"] = TrustRecord(TrustStatus.TRUSTED, NOW, OTHER_DIGEST)
    assert setting.fetch(SIGNATURE).status is TrustStatus.UNTRUSTED


def test_removed_key_does_not_count_at_once(setting: Setting) -> None:
    """A registry with other keys is another one, so that no cached digest of it exists."""
    setting.details.facts["shop/web:1"] = TrustStatus.UNTRUSTED
    setting.registries.checks[DIGEST] = SIGNED
    setting.fetch(SIGNATURE)
    setting.registries.checks[DIGEST] = UNSIGNED
    lapsed = SigningKey("release", "/keys/release.pub", problem="it has lapsed")
    changed = registry(evidence=Evidence.SIGNATURE, signatures=SignatureSettings((lapsed,)))
    assert setting.fetch(changed).status is TrustStatus.UNTRUSTED


def test_tag_without_a_digest_is_not_known(setting: Setting) -> None:
    """Its signatures cannot be found. That may depend on the image, so it admits nothing."""
    setting.details.facts["shop/web:1"] = TrustRecord(TrustStatus.TRUSTED, NOW)
    with pytest.raises(MalformedAnswer, match="SWR names no digest of the tag"):
        setting.fetch(SIGNATURE)


def test_failure_to_read_signatures_is_a_failed_lookup(setting: Setting) -> None:
    setting.details.facts["shop/web:1"] = TrustStatus.TRUSTED
    setting.registries.checks[DIGEST] = Forbidden("no")
    with pytest.raises(Forbidden):
        setting.fetch(SIGNATURE)
    assert setting.recorder.named("signature_checked") == [(SIGNATURE.name, "error")]


@pytest.mark.parametrize(
    ("tags", "query", "status", "digest", "asked"),
    [
        ({"1": DIGEST}, {}, TrustStatus.TRUSTED, DIGEST, ["shop/web:1", "signatures of shop/web@sha256:a"]),
        (
            {"1": OTHER_DIGEST},
            {},
            TrustStatus.UNTRUSTED,
            OTHER_DIGEST,
            ["shop/web:1", "signatures of shop/web@sha256:b"],
        ),
        ({}, {}, TrustStatus.MISSING, None, ["shop/web:1"]),
        (
            {"1": DIGEST},
            {"tag": None, "digest": DIGEST},
            TrustStatus.TRUSTED,
            DIGEST,
            ["shop/web@sha256:a", "signatures of shop/web@sha256:a"],
        ),
        ({}, {"tag": None, "digest": DIGEST}, TrustStatus.MISSING, None, ["shop/web@sha256:a"]),
    ],
)
def test_enterprise_finds_the_digest_by_the_registry_api(
    setting: Setting,
    tags: dict[str, str],
    query: dict[str, Any],
    status: TrustStatus,
    digest: str | None,
    asked: list[str],
) -> None:
    """SWR's API is not called, and a digest alone needs no tag."""
    setting.registries.tags |= tags
    setting.registries.checks[DIGEST] = SIGNED
    record = setting.fetch(ENTERPRISE, **query)
    assert (record.status, record.digest, setting.registries.asked) == (status, digest, asked)
    assert setting.details.asked == []


def test_record_is_as_old_as_the_answer_about_its_tag(setting: Setting) -> None:
    """A slow verification does not make it younger."""
    setting.registries.tags["1"] = DIGEST
    assert setting.fetch(ENTERPRISE).fetched_at == NOW
    setting.details.facts["shop/web:1"] = TrustRecord(TrustStatus.UNTRUSTED, NOW - 5, DIGEST)
    assert setting.fetch(SIGNATURE).fetched_at == NOW - 5


def test_enterprise_failure_is_a_failed_lookup(setting: Setting) -> None:
    setting.registries.tags["1"] = RegistryUnavailable("down")
    with pytest.raises(RegistryUnavailable, match="down"):
        setting.fetch(ENTERPRISE)


class CountingLimiter(Unlimited):
    """Counts the answers that would close a circuit breaker."""

    def __init__(self) -> None:
        self.answers = 0

    def record_answer(self) -> None:
        self.answers += 1


def test_answers_about_tags_do_not_close_the_breaker_of_both_endpoints(setting: Setting) -> None:
    """Otherwise it would never open while the registry API hangs."""

    class Answering(FakeTrustSource):
        def fetch(self, query: TrustQuery, deadline: Deadline, call_limiter: CallLimiter) -> TrustRecord:
            call_limiter.record_answer()
            return super().fetch(query, deadline, call_limiter)

    details = Answering({"shop/web:1": TrustStatus.UNTRUSTED}, setting.clock)
    source = EvidenceSource(details, setting.registries, setting.recorder, CacheSettings(), setting.clock)
    for evidence, answers in ((TAG_DETAIL, 1), (SIGNATURE, 1)):
        limiter = CountingLimiter()
        source.fetch(TrustQuery(evidence, "shop", "web", tag="1"), SOON, limiter)
        assert limiter.answers == answers  # of the tag detail, and of the registry API


def test_retain_reaches_clients_and_digests(setting: Setting) -> None:
    setting.details.facts["shop/web:1"] = TrustStatus.UNTRUSTED
    setting.registries.checks[DIGEST] = SIGNED
    setting.fetch(SIGNATURE)
    setting.source.retain([BOTH])
    setting.fetch(SIGNATURE)
    assert setting.registries.kept == [BOTH]
    assert len(setting.registries.asked) == 2


def test_survey_is_not_counted_as_a_verification(setting: Setting) -> None:
    """Its result is never ``signed``, which would look like images without enough signatures."""
    setting.details.facts["shop/web:1"] = TrustStatus.UNTRUSTED
    setting.fetch(for_signatures(SIGNATURE))
    assert setting.recorder.named("signature_checked") == []
    setting.fetch(SIGNATURE)
    assert setting.recorder.named("signature_checked") == [(SIGNATURE.name, "unsigned")]


@pytest.mark.parametrize(
    ("registry", "detail", "is_marked"),
    [
        (SIGNATURE, TrustStatus.TRUSTED, True),
        (SIGNATURE, TrustStatus.UNTRUSTED, False),
        (BOTH, TrustStatus.TRUSTED, True),
    ],
)
def test_record_keeps_what_the_tag_detail_says(
    setting: Setting, registry: Registry, detail: TrustStatus, is_marked: bool
) -> None:
    """Beside what the signatures prove."""
    setting.details.facts["shop/web:1"] = detail
    assert setting.fetch(registry).is_marked is is_marked


def test_record_of_enterprise_has_no_mark(setting: Setting) -> None:
    setting.registries.tags["1"] = DIGEST
    assert setting.fetch(ENTERPRISE).is_marked is None
