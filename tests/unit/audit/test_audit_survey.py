"""The survey in an audit: what it adds to the reports, and what it must not change."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.builders import DIGEST, HOST, NOW, FakeAnswers, policy, registry
from tests.unit.audit.builders import Pages, running
from tests.unit.audit.test_pages import Page
from webhook.audit.chinese import remarks
from webhook.audit.pages import render_audit
from webhook.audit.pods import PodPage, RunningPod
from webhook.audit.report import AuditReport
from webhook.audit.scanning import Audit
from webhook.audit.survey_advice import Advice, recommend
from webhook.audit.tables import audit_as_csv, audit_as_data
from webhook.errors import RegistryUnavailable
from webhook.policy.findings import Mode
from webhook.registries import Evidence, Registry, RegistryTable, SignatureSettings, SigningKey
from webhook.signatures.check import SignatureCheck, SignatureResult
from webhook.trust.lookup import LookupRequest, LookupResult
from webhook.trust.records import TrustRecord, TrustStatus

KEYS = SignatureSettings(
    (
        SigningKey("release", "/keys/release.pub", content=b"release"),
        SigningKey("security", "/keys/security.pub", content=b"security"),
    ),
    threshold=2,
)
PLAIN = registry()
WATCHED = registry(signatures=KEYS)
SIGNATURE = registry(evidence=Evidence.SIGNATURE, signatures=KEYS)
BOTH = registry(evidence=Evidence.BOTH, signatures=KEYS)

FORMATS = ("simple-signing",)
SIGNED = SignatureCheck(
    SignatureResult.SIGNED, NOW, ("release", "security"), FORMATS, found=2, stored=FORMATS
)
HALF = SignatureCheck(
    SignatureResult.THRESHOLD,
    NOW,
    ("release",),
    FORMATS,
    found=2,
    problems=("simple-signing: no key that counts has signed it",),
    stored=FORMATS,
)
UNSIGNED = SignatureCheck(SignatureResult.UNSIGNED, NOW)


def by_signature(check: SignatureCheck, *, marked: bool = False) -> TrustRecord:
    """Return the record of an image under an evidence with signatures."""
    trusted = check.result is SignatureResult.SIGNED
    status = TrustStatus.TRUSTED if trusted else TrustStatus.UNTRUSTED
    return TrustRecord(status, NOW, DIGEST, signature=check, is_marked=marked)


class Answers(FakeAnswers):
    """Answers by the evidence of the registry and the image; those of the tag detail are in ``facts``."""

    def __init__(self, facts: Mapping[str, Any], signatures: Mapping[str, Any]) -> None:
        super().__init__(facts)
        self.details = self.facts
        self.signatures = dict(signatures)

    def _answer(self, question: LookupRequest) -> LookupResult:
        is_detail = question.query.registry.evidence is Evidence.TAG_DETAIL
        self.facts = self.details if is_detail else self.signatures
        return super()._answer(question)


def audit(
    answers: Answers, configured: Registry, *pods: RunningPod, mode: Mode = Mode.ENFORCE
) -> AuditReport:
    """Audit Pods with images of one registry."""
    current = policy(registries=RegistryTable.of([configured]), mode=mode)
    run = Audit(current, answers, clock=lambda: NOW, sleep=lambda _seconds: None)
    return run.run(Pages(PodPage(pods)))


WEB = running("shop/web:1")
API = running("shop/api:1", name="api-1", workload="Deployment/api")
DETAILS = {"shop/web:1": TrustStatus.TRUSTED, "shop/api:1": TrustStatus.UNTRUSTED}
CHECKS = {"shop/web:1": by_signature(SIGNED, marked=True), "shop/api:1": by_signature(HALF)}


@pytest.mark.parametrize(
    ("configured", "lookups", "advice"),
    [
        (PLAIN, 2, Advice.PREPARE),
        (WATCHED, 4, Advice.PREPARE),
        (SIGNATURE, 2, Advice.PREPARE),
    ],
    ids=["tagDetail", "tagDetail with keys", "signature"],
)
def test_audit_looks_up_only_what_it_is_configured_for(
    configured: Registry, lookups: int, advice: Advice
) -> None:
    """Reading signatures in each round takes calls, of which SWR allows an account only so many."""
    answers = Answers(DETAILS, CHECKS)
    (found,) = audit(answers, configured, WEB, API).survey
    assert len(answers.asked) == lookups
    assert found.reads_signatures is (configured is not PLAIN)
    assert recommend(found).advice is advice
    assert (found.counts.images, found.counts.marked) == (2, 1)


def test_image_that_both_denies_for_its_mark_is_looked_up_again() -> None:
    """Its signatures are not needed for the decision, and the survey counts them."""
    facts = {
        "shop/web:1": by_signature(SIGNED, marked=True),
        "shop/api:1": TrustRecord(TrustStatus.UNTRUSTED, NOW),
    }
    answers = Answers({}, facts)
    asked: list[tuple[Evidence, str]] = []
    answer = answers._answer

    def note(question: LookupRequest) -> LookupResult:
        asked.append((question.query.registry.evidence, str(question.query.tag)))
        if question.query.registry.evidence is Evidence.SIGNATURE:
            answers.signatures["shop/api:1"] = by_signature(HALF)
        return answer(question)

    answers._answer = note  # type: ignore[method-assign]
    (found,) = audit(answers, BOTH, WEB, API).survey
    assert [evidence.value for evidence, _ in asked] == ["both", "both", "signature"]
    assert found.counts.signers == {"release": 2, "security": 1}


def test_failure_of_a_survey_lookup_does_not_touch_the_audit() -> None:
    """Only the survey says that something is not known."""
    down = RegistryUnavailable("the registry cannot be reached")
    report = audit(Answers(DETAILS, {"shop/web:1": down, "shop/api:1": down}), WATCHED, WEB, API)
    without = audit(Answers(DETAILS, {}), PLAIN, WEB, API)
    assert (report.gaps, report.failures, report.images_looked_up) == ([], [], 2)
    assert (report.verdict, report.refused) == (without.verdict, without.refused)
    (found,) = report.survey
    assert (found.counts.unknown, found.failures) == (2, {"the registry cannot be reached": 2})


def test_row_of_a_denied_image_names_its_signers() -> None:
    """In JSON and in CSV."""
    report = audit(Answers(DETAILS, CHECKS), SIGNATURE, WEB, API)
    assert [(row.image, row.signers) for row in report.rows] == [(f"{HOST}/shop/api:1", ("release",))]
    assert audit_as_data(report)["findings"][0]["signers"] == ["release"]
    (row, *_) = csv.DictReader(io.StringIO(audit_as_csv(report)))
    assert (row["kind"], row["signers"]) == ("finding", "release")


def test_csv_has_the_signatures_of_each_image_and_namespace() -> None:
    report = audit(
        Answers(DETAILS, CHECKS), SIGNATURE, WEB, running("shop/web:1", name="w", namespace="pay"), API
    )
    rows = csv.DictReader(io.StringIO(audit_as_csv(report)))
    assert [
        (row["namespace"], row["image"], row["reason"], row["signers"], row["message"])
        for row in rows
        if row["kind"] == "signature"
    ] == [
        (
            "shop",
            f"{HOST}/shop/api:1",
            "threshold",
            "release",
            "2 signatures examined; simple-signing: no key that counts has signed it",
        ),
        ("pay", f"{HOST}/shop/web:1", "signed", "release, security", "2 signatures examined"),
        ("shop", f"{HOST}/shop/web:1", "signed", "release, security", "2 signatures examined"),
    ]


def test_registry_without_any_signed_image_is_reported() -> None:
    """As one without any mark; the text is about signatures."""
    checks = dict.fromkeys(("shop/web:1", "shop/api:1"), by_signature(UNSIGNED, marked=True))
    report = audit(Answers({}, checks), SIGNATURE, WEB, API)
    assert (report.never_trusted, report.never_signed) == ([], [(HOST, 2)])
    assert audit_as_data(report)["neverSigned"] == [{"registry": HOST, "images": 2}]
    assert report.remarks[0] == (
        f"NO IMAGE IS SIGNED: {HOST} answered for 2 images, and none is signed by enough of the configured "
        "keys. Sign the images and check signatures.keys before you enforce, or every image from there is denied."
    )
    assert remarks(report)[0] == (
        f"没有任何镜像已签名：{HOST} 返回了 2 个镜像的结果，均未由足够的已配置密钥签名。"
        "强制执行之前，请为镜像签名并检查 signatures.keys，否则来自该仓库地址的镜像都会被拒绝。"
    )


def test_registry_without_any_mark_names_the_survey() -> None:
    """No document says what sets the mark, so signatures are the way out."""
    report = audit(Answers({"shop/web:1": TrustStatus.UNTRUSTED}, {}), PLAIN, WEB)
    assert report.remarks[0].endswith(
        "swr-trust survey shows whether signatures can be the evidence instead."
    )
    assert remarks(report)[0].endswith("运行 swr-trust survey 可查看能否改用签名作为可信依据。")


def test_recommendation_is_a_remark_where_signatures_were_read() -> None:
    report = audit(Answers(DETAILS, CHECKS), WATCHED, WEB, API, mode=Mode.AUDIT)
    assert (
        f"Evidence of {HOST}: evidence: tagDetail accepts 1 of the 2 images that exist. "
        "Find out how your account marks images, and mark the others before you enforce."
    ) in report.remarks
    assert (
        f"{HOST} 的可信依据：evidence: tagDetail 接受 2 个现有镜像中的 1 个。"
        "强制执行之前，请确认您的账号如何设置可信标记，并标记其余镜像。"
    ) in remarks(report)
    assert len(remarks(report)) == len(report.remarks)
    plain = audit(Answers(DETAILS, {}), PLAIN, WEB, API)
    assert not any(remark.startswith("Evidence of ") for remark in plain.remarks)


def test_page_shows_counts_and_signatures() -> None:
    """In both languages."""
    report = audit(Answers(DETAILS, CHECKS), WATCHED, WEB, API)
    page = Page(render_audit(report))
    assert page.open == []
    text = " ".join(page.text.split())
    for part in ("Evidence of the images, by registry", "Signatures of the images", "release, security"):
        assert part in text
    chinese = Page(render_audit(report, "zh")).text
    for part in ("各镜像仓库服务中镜像的可信依据", "镜像的签名", "release, security"):
        assert part in chinese


def test_json_has_the_survey_of_each_registry() -> None:
    """With the same keys as ``swr-trust survey``."""
    report = audit(Answers(DETAILS, CHECKS), WATCHED, WEB, API)
    (found,) = audit_as_data(report)["survey"]
    assert found["counts"]["signers"] == {"release": 2, "security": 1}
    assert [image["signers"] for image in found["images"]] == [["release"], ["release", "security"]]
