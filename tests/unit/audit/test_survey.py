"""The survey: its counts, its recommendations, and its sentences in both languages."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest

from tests.support.builders import HOST, NOW, enterprise_registry, registry
from webhook.audit.survey import (
    EvidenceCounts,
    ProjectIdAnswer,
    ProjectIds,
    RegistrySurvey,
    Survey,
    TagCall,
    find_without,
)
from webhook.audit.survey_advice import Advice, Recommendation, recommend
from webhook.audit.survey_tables import registry_as_data
from webhook.audit.survey_texts import TEXTS, describe, recommendation
from webhook.errors import Forbidden, RegistryUnavailable
from webhook.evidence.inspection import Inspection
from webhook.policy.findings import Mode
from webhook.registries import Evidence, Registry, SignatureSettings, SigningKey
from webhook.signatures.check import SignatureCheck, SignatureResult
from webhook.trust.records import TrustQuery

KEYS = SignatureSettings((SigningKey("release", "/keys/release.pub", content=b"release"),))
PLAIN = registry()
WATCHED = registry(signatures=KEYS)
SIGNATURE = registry(evidence=Evidence.SIGNATURE, signatures=KEYS)
LAPSED = SignatureSettings((*KEYS.keys, SigningKey("old", "/keys/old.pub", problem="lapsed on 2026-01-01")))
HALF = registry(evidence=Evidence.SIGNATURE, signatures=LAPSED)
BOTH = registry(evidence=Evidence.BOTH, signatures=KEYS)
ENTERPRISE = enterprise_registry(signatures=KEYS)


def image(
    *, marked: bool | None = False, signers: tuple[str, ...] = (), stored: int = 0, read: bool = True
) -> Inspection:
    """Return the inspection of an image that exists; ``stored`` signatures do not count."""
    if not read:
        return Inspection(True, marked, failures=(Forbidden("no access"),))
    result = SignatureResult.SIGNED if signers else SignatureResult.UNSIGNED
    formats = ("simple-signing",) if signers else ()
    found = stored + len(signers)
    check = SignatureCheck(result, NOW, signers, formats, found, stored=("simple-signing",) if found else ())
    return Inspection(True, marked, bool(signers), check)


MARKED = image(marked=True)
SIGNED = image(signers=("release",))
PERFECT = image(marked=True, signers=("release",))
BARE = image()
STRANGE = image(stored=1)
GONE = Inspection(exists=False)
LOST = Inspection(failures=(RegistryUnavailable("no answer"),))


def survey_of(configured: Registry, *inspections: Inspection, reading: bool = True) -> RegistrySurvey:
    """Return the survey of a registry with these images, all in one namespace."""
    survey = Survey()
    for number, inspection in enumerate(inspections):
        survey.add("shop", TrustQuery(configured, "shop", "web", tag=str(number)), inspection)
    (found,) = survey.finish([configured], [configured] if reading else [])
    return found


def test_image_of_several_namespaces_is_counted_once_in_total() -> None:
    """And once in each namespace that runs it."""
    survey = Survey()
    first, second = (TrustQuery(WATCHED, "shop", "web", tag=tag) for tag in ("1", "2"))
    survey.add("shop", first, SIGNED)
    survey.add("pay", first, None)
    survey.add("pay", second, BARE)
    (found,) = survey.finish([WATCHED], [WATCHED])
    assert (found.counts.images, found.counts.signed) == (2, 1)
    assert [(name, counts.images, counts.signed) for name, counts in found.namespaces] == [
        ("pay", 2, 1),
        ("shop", 1, 1),
    ]
    assert [(one.image, sorted(one.namespaces)) for one in found.images] == [
        (f"{HOST}/shop/web:1", ["pay", "shop"]),
        (f"{HOST}/shop/web:2", ["pay"]),
    ]


def test_counts_of_one_registry() -> None:
    """Images that do not exist are denied by each evidence; of unknown ones nothing is claimed."""
    found = survey_of(WATCHED, PERFECT, MARKED, SIGNED, STRANGE, BARE, GONE, LOST, image(read=False))
    assert found.counts == EvidenceCounts(
        images=8,
        missing=1,
        existing=6,
        marked=2,
        with_signatures=3,
        signed=2,
        unknown=2,
        denied=Counter({Evidence.TAG_DETAIL: 5, Evidence.SIGNATURE: 4, Evidence.BOTH: 6}),
        passing=Counter({Evidence.TAG_DETAIL: 2, Evidence.SIGNATURE: 2, Evidence.BOTH: 1}),
        signers=Counter({"release": 2}),
        formats=Counter({"simple-signing": 2}),
        stored_formats=Counter({"simple-signing": 3}),
    )
    assert {evidence.value: found.counts.undetermined(evidence) for evidence in Evidence} == {
        "tagDetail": 1,
        "signature": 2,
        "both": 1,
    }
    assert found.failures == Counter({"no answer": 1, "no access": 1})


def test_images_beyond_limit_are_counted_as_omitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webhook.audit.survey.MAX_IMAGES", 2)
    survey = Survey()
    for number in range(4):
        query = TrustQuery(WATCHED, "shop", "web", tag=str(number))
        survey.add("shop", query, None if survey.is_full else BARE)
    (found,) = survey.finish([WATCHED], [WATCHED])
    assert (found.counts.images, survey.omitted) == (2, 2)


@pytest.mark.parametrize(
    ("organizations", "label"),
    [
        (set(), HOST),
        ({"shop", "base"}, f"{HOST} (base, shop)"),
        ({"a", "b", "c", "d", "e"}, f"{HOST} (a, b, c, +2)"),
    ],
)
def test_label_tells_registries_of_one_host_apart(organizations: set[str], label: str) -> None:
    assert RegistrySurvey(registry(organizations=frozenset(organizations)), False).label == label


TAG, SIG, DOUBLE = Evidence.TAG_DETAIL, Evidence.SIGNATURE, Evidence.BOTH

CASES: dict[str, tuple[Registry, tuple[Inspection, ...], Advice, Evidence | None]] = {
    "all marked": (WATCHED, (MARKED, MARKED), Advice.READY, TAG),
    "all marked and signed": (WATCHED, (PERFECT, PERFECT), Advice.READY, TAG),
    "all signed": (SIGNATURE, (SIGNED, SIGNED), Advice.READY, SIG),
    "both of all": (BOTH, (PERFECT,), Advice.READY, DOUBLE),
    "missing images do not count": (SIGNATURE, (SIGNED, GONE), Advice.READY, SIG),
    "signed, and none marked": (WATCHED, (SIGNED, SIGNED), Advice.SWITCH, SIG),
    "signed, and some marked": (WATCHED, (SIGNED, PERFECT), Advice.SWITCH, SIG),
    "marked, and none signed": (SIGNATURE, (MARKED, MARKED), Advice.SWITCH, TAG),
    "both, and not all signed": (BOTH, (PERFECT, MARKED), Advice.PREPARE, DOUBLE),
    "both, and not all marked": (BOTH, (PERFECT, SIGNED), Advice.PREPARE, DOUBLE),
    "both, and none signed": (BOTH, (MARKED, MARKED), Advice.SWITCH, TAG),
    "some signed": (SIGNATURE, (SIGNED, BARE), Advice.PREPARE, SIG),
    "some marked": (WATCHED, (MARKED, BARE), Advice.PREPARE, TAG),
    "more signed than marked": (WATCHED, (SIGNED, SIGNED, MARKED), Advice.PREPARE, SIG),
    "as many signed as marked": (WATCHED, (SIGNED, MARKED), Advice.PREPARE, TAG),
    "as many, under both": (BOTH, (SIGNED, MARKED), Advice.PREPARE, SIG),
    "some unknown": (SIGNATURE, (SIGNED, LOST), Advice.PREPARE, SIG),
    "marked, and signatures unknown": (
        SIGNATURE,
        (image(marked=True, read=False), image(marked=True, read=False)),
        Advice.UNKNOWN,
        None,
    ),
    "marked, and some signatures unknown": (
        SIGNATURE,
        (PERFECT, image(marked=True, read=False)),
        Advice.PREPARE,
        SIG,
    ),
    "signed, and marks unknown": (
        WATCHED,
        (SIGNED, image(marked=None, signers=("a",))),
        Advice.UNKNOWN,
        None,
    ),
    "a key has lapsed": (HALF, (PERFECT, image(marked=True, stored=1)), Advice.CHECK_KEYS, None),
    "a key has lapsed that signed nothing": (HALF, (SIGNED, BARE), Advice.PREPARE, SIG),
    "a key has lapsed that is not needed": (HALF, (SIGNED, SIGNED), Advice.READY, SIG),
    "signatures by others": (WATCHED, (STRANGE, BARE), Advice.CHECK_KEYS, None),
    "signatures, and no key": (PLAIN, (STRANGE, BARE), Advice.ADD_KEYS, None),
    "nothing": (WATCHED, (BARE, BARE), Advice.NO_EVIDENCE, None),
    "nothing, and no key": (PLAIN, (BARE,), Advice.NO_EVIDENCE, None),
    "nothing in Enterprise": (ENTERPRISE, (image(marked=None),), Advice.NO_EVIDENCE, None),
    "signed in Enterprise": (ENTERPRISE, (image(marked=None, signers=("a",)),), Advice.READY, SIG),
    "nothing read": (WATCHED, (image(read=False),), Advice.UNKNOWN, None),
    "no answer": (WATCHED, (LOST,), Advice.UNKNOWN, None),
    "nothing runs": (WATCHED, (), Advice.NOTHING_RUNS, None),
    "nothing exists": (WATCHED, (GONE,), Advice.NOTHING_RUNS, None),
}


@pytest.mark.parametrize("name", CASES)
def test_evidence_is_recommended_that_accepts_most_images(name: str) -> None:
    configured, inspections, advice, evidence = CASES[name]
    assert recommend(survey_of(configured, *inspections)) == Recommendation(advice, evidence)


def test_audit_without_keys_does_not_claim_that_nothing_is_signed() -> None:
    """It has not looked for signatures; ``swr-trust survey`` does."""
    found = survey_of(PLAIN, Inspection(True, False), reading=False)
    assert recommend(found) == Recommendation(Advice.NO_MARK)


TEXT_CASES: dict[str, tuple[Registry, tuple[Inspection, ...], Mode, str, str]] = {
    "ready": (
        SIGNATURE,
        (SIGNED, SIGNED),
        Mode.ENFORCE,
        "evidence: signature can be enforced: it accepts every image that exists (2).",
        "可以强制执行 evidence: signature：它接受全部 2 个现有镜像。",
    ),
    "stricter": (
        WATCHED,
        (PERFECT,),
        Mode.AUDIT,
        "evidence: tagDetail can be enforced: it accepts every image that exists (1). "
        "evidence: both accepts them all, too, and is stricter.",
        "可以强制执行 evidence: tagDetail：它接受全部 1 个现有镜像。evidence: both 同样接受全部镜像，而且更严格。",
    ),
    "switch": (
        WATCHED,
        (SIGNED, SIGNED, PERFECT),
        Mode.ENFORCE,
        "Set evidence: signature. It accepts every image that exists (3), and evidence: tagDetail accepts 1 of "
        "them.",
        "请设置 evidence: signature。它接受全部 3 个现有镜像，而 evidence: tagDetail 只接受其中 1 个。",
    ),
    "switch at once": (
        WATCHED,
        (SIGNED, SIGNED),
        Mode.ENFORCE,
        "Set evidence: signature. It accepts every image that exists (2), and evidence: tagDetail accepts 0 of "
        "them. The mode is enforce, so all images of this registry are denied now.",
        "请设置 evidence: signature。它接受全部 2 个现有镜像，而 evidence: tagDetail 只接受其中 0 个。"
        "当前模式为 enforce，因此该镜像仓库服务的所有镜像现在都会被拒绝。",
    ),
    "prepare": (
        SIGNATURE,
        (SIGNED, SIGNED, BARE, GONE),
        Mode.AUDIT,
        "evidence: signature accepts 2 of the 3 images that exist. Sign the others before you enforce. "
        "Not in the registry, so that every evidence denies them: 1 image.",
        "evidence: signature 接受 3 个现有镜像中的 2 个。强制执行之前，请为其余镜像签名。"
        "1 个镜像在镜像仓库服务中不存在，使用任何 evidence 都会被拒绝。",
    ),
    "prepare another": (
        WATCHED,
        (SIGNED, SIGNED, MARKED, BARE),
        Mode.AUDIT,
        "Set evidence: signature. It accepts 2 of the 4 images that exist, and evidence: tagDetail accepts 1. "
        "Sign the others before you enforce.",
        "请设置 evidence: signature。它接受 4 个现有镜像中的 2 个，而 evidence: tagDetail 接受 1 个。"
        "强制执行之前，请为其余镜像签名。",
    ),
    "mark others": (
        PLAIN,
        (MARKED, STRANGE),
        Mode.AUDIT,
        "evidence: tagDetail accepts 1 of the 2 images that exist. Find out how your account marks images, and "
        "mark the others before you enforce. Signatures are stored for 1 image, and no key is configured to "
        "verify them. Add the public keys of the signers under signatures.keys, then run swr-trust survey again.",
        "evidence: tagDetail 接受 2 个现有镜像中的 1 个。强制执行之前，请确认您的账号如何设置可信标记，"
        "并标记其余镜像。1 个镜像有签名，但没有配置用于验证的公钥。请将签名者的公钥加入 signatures.keys，"
        "然后重新运行 swr-trust survey。",
    ),
    "undetermined": (
        SIGNATURE,
        (SIGNED, image(read=False)),
        Mode.AUDIT,
        "evidence: signature accepts 1 of the 2 images that exist. Sign the others before you enforce. "
        "Not known whether evidence: signature accepts them: 1 image.",
        "evidence: signature 接受 2 个现有镜像中的 1 个。强制执行之前，请为其余镜像签名。"
        "无法确定 evidence: signature 是否接受其中 1 个镜像。",
    ),
    "check keys": (
        SIGNATURE,
        (STRANGE, STRANGE, BARE),
        Mode.AUDIT,
        "Signatures are stored for 2 images, and none of them counts. Check keys, threshold and annotations "
        "under signatures, then run swr-trust survey again.",
        "2 个镜像有签名，但没有一个有效。请检查 signatures 下的公钥、threshold 和 annotations，"
        "然后重新运行 swr-trust survey。",
    ),
    "a lapsed key": (
        HALF,
        (SIGNED, STRANGE, BARE),
        Mode.AUDIT,
        "Signatures are stored for 2 images, and count for 1. These keys have lapsed or are unreadable: old. "
        "Correct signatures.keys, then run swr-trust survey again.",
        "2 个镜像有签名，其中 1 个镜像的签名有效。以下密钥已过期或无法读取：old。"
        "请更正 signatures.keys，然后重新运行 swr-trust survey。",
    ),
    "both": (
        BOTH,
        (PERFECT, MARKED),
        Mode.AUDIT,
        "evidence: both accepts 1 of the 2 images that exist. Sign the others, and have SWR mark them, before "
        "you enforce.",
        "evidence: both 接受 2 个现有镜像中的 1 个。强制执行之前，请为其余镜像签名，并在 SWR 中设置可信标记。",
    ),
    "add keys": (
        PLAIN,
        (STRANGE, BARE),
        Mode.ENFORCE,
        "Signatures are stored for 1 image, and no key is configured to verify them. Add the public keys of the "
        "signers under signatures.keys, then run swr-trust survey again. The mode is enforce, so all images of this registry are "
        "denied now.",
        "1 个镜像有签名，但没有配置用于验证的公钥。请将签名者的公钥加入 signatures.keys，"
        "然后重新运行 swr-trust survey。当前模式为 enforce，因此该镜像仓库服务的所有镜像现在都会被拒绝。",
    ),
    "nothing": (
        PLAIN,
        (BARE, BARE),
        Mode.AUDIT,
        "NOTHING CAN BE TRUSTED: no image that exists (2) is marked, and none is signed. Sign them, or find out "
        "how your account marks images, before you enforce.",
        "没有任何镜像可信：2 个现有镜像均未标记为可信，也都没有签名。强制执行之前，请为镜像签名，"
        "或确认您的账号如何设置可信标记。",
    ),
    "nothing in Enterprise": (
        ENTERPRISE,
        (image(marked=None), image(marked=None)),
        Mode.ENFORCE,
        "NOTHING CAN BE TRUSTED: no image that exists (2) is signed. Sign them before you enforce. "
        "The mode is enforce, so all images of this registry are denied now.",
        "没有任何镜像可信：2 个现有镜像都没有签名。强制执行之前，请为镜像签名。"
        "当前模式为 enforce，因此该镜像仓库服务的所有镜像现在都会被拒绝。",
    ),
    "unknown": (
        WATCHED,
        (LOST,),
        Mode.ENFORCE,
        "Too little is known for a recommendation. Run swr-trust doctor, then run swr-trust survey again.",
        "已知信息太少，无法给出建议。请运行 swr-trust doctor，然后重新运行 swr-trust survey。",
    ),
    "nothing runs": (
        WATCHED,
        (),
        Mode.ENFORCE,
        "No image that exists runs from this registry, so nothing can be recommended.",
        "没有正在运行且存在于该镜像仓库服务中的镜像，无法给出建议。",
    ),
}


@pytest.mark.parametrize("name", TEXT_CASES)
def test_recommendation_in_both_languages(name: str) -> None:
    configured, inspections, mode, english, chinese = TEXT_CASES[name]
    found = survey_of(configured, *inspections)
    assert recommendation(found, mode, "en") == english
    assert recommendation(found, mode, "zh") == chinese


def test_recommendation_of_an_audit_without_keys_names_the_survey() -> None:
    found = survey_of(PLAIN, Inspection(True, False), reading=False)
    assert recommendation(found, Mode.AUDIT) == (
        "NOTHING CAN BE TRUSTED BY ITS MARK: no image that exists (1) is marked. "
        "swr-trust survey shows whether they are signed."
    )
    assert recommendation(found, Mode.AUDIT, "zh") == (
        "没有镜像凭可信标记可信：1 个现有镜像均未标记为可信。运行 swr-trust survey 可查看镜像是否已签名。"
    )


def described(**changes: Any) -> RegistrySurvey:
    """Return a survey with something to say in each sentence."""
    found = survey_of(WATCHED, PERFECT, image(signers=("release", "old")), LOST, LOST)
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def test_findings_in_both_languages() -> None:
    found = described(
        tag_call=TagCall.UNPUBLISHED,
        project_ids=ProjectIds(ProjectIdAnswer.REFUSED, ProjectIdAnswer.ANSWERED),
    )
    assert describe(found) == [
        "Images signed by each key: release (2), old (1).",
        "Formats of these signatures: simple-signing (2).",
        "ShowRepoTag is not published here. Tag lists are used instead, which need the action "
        "swr:repo:listRepoTags.",
        "SWR refuses with the configured project ID, and answers without one.",
        "Not known of 2 images: no answer.",
    ]
    assert describe(found, "zh") == [
        "各密钥签名的镜像数：release（2）、old（1）。",
        "这些签名的格式：simple-signing（2）。",
        "该区域不提供 ShowRepoTag 接口，因此改为读取镜像版本列表，需要 swr:repo:listRepoTags 权限。",
        "使用所配置的项目 ID 时，SWR 拒绝请求；不带项目 ID 时，SWR 正常响应。",
        "2 个镜像的情况未知：no answer。",
    ]


@pytest.mark.parametrize(
    ("configured", "english", "chinese"),
    [
        (
            PLAIN,
            "Formats of the signatures, which were not verified: simple-signing (1).",
            "签名的格式（签名未经验证）：simple-signing（1）。",
        ),
        (
            WATCHED,
            "Formats of the signatures, none of which counts: simple-signing (1).",
            "签名的格式（签名均无效）：simple-signing（1）。",
        ),
    ],
    ids=["no keys", "other keys"],
)
def test_stored_signatures_are_reported_although_none_counts(
    configured: Registry, english: str, chinese: str
) -> None:
    found = survey_of(configured, STRANGE, BARE)
    assert describe(found) == [english]
    assert describe(found, "zh") == [chinese]


@pytest.mark.parametrize(
    ("answers", "english", "chinese"),
    [
        (
            ProjectIds(None, ProjectIdAnswer.ANSWERED),
            "No project ID is configured. SWR answers without one.",
            "未配置项目 ID。不带项目 ID 时，SWR 正常响应。",
        ),
        (
            ProjectIds(ProjectIdAnswer.ANSWERED, ProjectIdAnswer.NOT_TRIED),
            "SWR answers with the configured project ID, and was not asked without one.",
            "使用所配置的项目 ID 时，SWR 正常响应；不带项目 ID 时，SWR 未被查询。",
        ),
        (
            ProjectIds(ProjectIdAnswer.UNKNOWN, ProjectIdAnswer.REFUSED),
            "SWR was not known to answer with the configured project ID, and refuses without one.",
            "使用所配置的项目 ID 时，SWR 是否响应未知；不带项目 ID 时，SWR 拒绝请求。",
        ),
    ],
)
def test_project_ids_in_both_languages(answers: ProjectIds, english: str, chinese: str) -> None:
    found = survey_of(PLAIN, BARE)
    found.project_ids = answers
    assert describe(found) == [english]
    assert describe(found, "zh") == [chinese]


def test_catalogues_of_both_languages_correspond() -> None:
    """The same texts with the same placeholders."""
    english, chinese = TEXTS["en"], TEXTS["zh"]
    assert english.keys() == chinese.keys()
    for key, text in english.items():
        assert sorted(re.findall(r"{\w+}", text)) == sorted(re.findall(r"{\w+}", chinese[key])), key


def test_registries_without_any_proof_are_named() -> None:
    """By their name, so that an image of one entry speaks for the others of its host."""
    shop, pay = (registry(organizations=frozenset({name})) for name in ("shop", "pay"))
    surveys = [survey_of(shop, BARE, GONE), survey_of(pay, BARE), survey_of(SIGNATURE, BARE)]
    assert find_without(surveys, (TAG, DOUBLE), TAG) == [(HOST, 3)]
    assert find_without(surveys, (SIG, DOUBLE), SIG) == [(HOST, 1)]
    assert find_without([survey_of(shop, BARE), survey_of(pay, MARKED)], (TAG,), TAG) == []
    assert find_without([survey_of(shop, BARE, LOST)], (TAG,), TAG) == [(HOST, 1)]
    assert find_without([survey_of(shop, GONE)], (TAG,), TAG) == []


def test_registry_as_values_of_json() -> None:
    found = survey_of(WATCHED, SIGNED)
    found.tag_call = TagCall.PUBLISHED
    found.project_ids = ProjectIds(ProjectIdAnswer.ANSWERED, ProjectIdAnswer.REFUSED)
    counts = {
        "images": 1,
        "existing": 1,
        "missing": 0,
        "marked": 0,
        "withSignatures": 1,
        "signed": 1,
        "unknown": 0,
        "denied": {"tagDetail": 1, "signature": 0, "both": 1},
        "undetermined": {"tagDetail": 0, "signature": 0, "both": 0},
        "signers": {"release": 1},
        "formats": {"simple-signing": 1},
        "storedFormats": {"simple-signing": 1},
    }
    assert registry_as_data(found, Mode.AUDIT) == {
        "registry": HOST,
        "organizations": [],
        "edition": "basic",
        "evidence": "tagDetail",
        "keys": ["release"],
        "signaturesRead": True,
        "advice": "switch",
        "recommended": "signature",
        "recommendation": "Set evidence: signature. It accepts every image that exists (1), "
        "and evidence: tagDetail accepts 0 of them.",
        "remarks": describe(found),
        "showRepoTag": "published",
        "projectIds": {"configured": "answered", "none": "refused"},
        "counts": counts,
        "failures": [],
        "namespaces": [{"name": "shop", **counts}],
        "images": [
            {
                "image": f"{HOST}/shop/web:0",
                "namespaces": ["shop"],
                "exists": True,
                "marked": False,
                "signed": True,
                "examined": 1,
                "signers": ["release"],
                "formats": ["simple-signing"],
                "storedFormats": ["simple-signing"],
                "problems": [],
                "failures": [],
            }
        ],
    }
