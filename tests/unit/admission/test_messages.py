"""Messages for developers: whole sentences, bounded, printable."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import DIGEST, HOST, NOW, OTHER_DIGEST, SOON, FakeAnswers, policy, registry, rule
from webhook.admission.catalogues import CATALOGUES
from webhook.admission.decision import CheckResult, Effect, ImageResult
from webhook.admission.evaluator import Evaluator
from webhook.admission.extraction import ImageUse
from webhook.admission.messages import ELLIPSIS, Messages, printable
from webhook.errors import (
    Fault,
    Forbidden,
    LookupTimeout,
    MalformedAnswer,
    RegistryUnavailable,
    Throttled,
    Unauthorized,
)
from webhook.images.reference import parse_reference
from webhook.policy.findings import Finding, Mode
from webhook.policy.model import Policy
from webhook.registries import Evidence, RegistryTable, SignatureSettings, SigningKey
from webhook.signatures.check import SignatureCheck, SignatureResult
from webhook.trust.records import TrustRecord, TrustStatus

FACTS: dict[str, Any] = {
    "shop/web:1": TrustStatus.TRUSTED,
    "shop/web:2": TrustStatus.UNTRUSTED,
    "shop/web:latest": TrustStatus.UNTRUSTED,
    f"shop/web@{DIGEST}": TrustStatus.UNTRUSTED,
    "shop/slow:1": LookupTimeout("x", fault=Fault.REGISTRY),
    "shop/busy:1": Throttled("x", fault=Fault.REGISTRY),
    "shop/down:1": RegistryUnavailable("x"),
    "shop/waiting:1": LookupTimeout("x", fault=Fault.LOCAL),
    "shop/flooded:1": Throttled("x", fault=Fault.LOCAL),
    "shop/broken:1": RegistryUnavailable("x", fault=Fault.LOCAL),
    "shop/long:1": LookupTimeout("x", fault=Fault.IMAGE),
    "shop/heavy:1": RegistryUnavailable("x", fault=Fault.IMAGE),
    "shop/key:1": Unauthorized("x"),
    "shop/hidden:1": Forbidden("x"),
    "shop/odd:1": MalformedAnswer("x"),
}
MANUAL = "Try again in a minute. If the problem persists, contact your cluster administrators."
AGAIN = "Try again in a minute. If the problem persists, contact your cluster administrators."
WRITE = f"Write the image as {HOST}/organization/name:tag."


def judge(*images: str, current: Policy | None = None) -> tuple[ImageResult, ...]:
    """Evaluate the containers of a Pod."""
    uses = [
        ImageUse(f"spec.containers[{n}].image", ("containers", str(n)), image)
        for n, image in enumerate(images)
    ]
    return Evaluator(current or policy(), FakeAnswers(FACTS)).evaluate(uses, "shop", SOON, NOW)


SENTENCES = [
    (
        "untrusted",
        f"{HOST}/shop/web:2",
        "SWR does not mark this tag as trusted",
        "Mark this tag as trusted in SWR, or use a tag that already is.",
    ),
    (
        "missing",
        f"{HOST}/shop/web:9",
        "tag does not exist in SWR",
        "Push the image to SWR, or correct its name and tag.",
    ),
    (
        "no tag, untrusted",
        f"{HOST}/shop/web",
        "the tag defaults to latest, which SWR does not mark as trusted",
        "Write name:tag with a tag that is trusted.",
    ),
    (
        "no tag, missing",
        f"{HOST}/shop/api",
        "the tag defaults to latest, which does not exist in SWR",
        "Write name:tag with a tag that exists.",
    ),
    (
        "latest, written",
        f"{HOST}/shop/web:latest",
        "SWR does not mark this tag as trusted",
        "Mark this tag as trusted in SWR, or use a tag that already is.",
    ),
    (
        "another digest",
        f"{HOST}/shop/web:1@{OTHER_DIGEST}",
        "the pinned digest is not the digest of this tag in SWR",
        "Pin the digest that SWR shows for the tag, or use the tag with this digest.",
    ),
    ("empty", "", "the image is empty", WRITE),
    (
        "capitals",
        f"{HOST}/Shop/web",
        "an image name must be lower case",
        "Write the image name in lower case.",
    ),
    ("white space", f"{HOST}/shop/web:1 ", "the image contains white space", "Remove the white space."),
    (
        "a bad tag",
        f"{HOST}/shop/web:-",
        "the tag is not valid",
        "Use up to 128 letters, digits, dots, hyphens and underscores.",
    ),
    ("an image ID", DIGEST, "is the ID of an image on a node, not a name", WRITE),
    ("a scheme", f"https://{HOST}/shop/web", "the image starts with a scheme such as https://", WRITE),
    (
        "no organization",
        f"{HOST}/web:1",
        "the image has no SWR organization",
        f"{WRITE[:-1]}, with its organization.",
    ),
    (
        "by digest",
        f"{HOST}/shop/web@{DIGEST}",
        "the image has no tag, and SWR is queried by tag",
        "Write name:tag@sha256:..., with the digest that SWR shows for the tag.",
    ),
    (
        "another registry",
        "nginx",
        'images from registry "docker.io" are not allowed in this cluster',
        f"Push the image to {HOST} and use it from there.",
    ),
    (
        "enterprise",
        "a-b.swr-pro.myhuaweicloud.com/x/y:1",
        "this registry of SWR Enterprise is not configured, so its images cannot be evaluated",
        f"Push the image to {HOST} and use it from there, or ask your cluster administrators to add a registry with edition: enterprise.",
    ),
    (
        "too slow",
        f"{HOST}/shop/slow:1",
        "SWR did not answer in time, so trust is not known",
        MANUAL,
    ),
    (
        "too often",
        f"{HOST}/shop/busy:1",
        "SWR is rate-limiting requests, so the trust of this image is not known",
        MANUAL,
    ),
    (
        "our queue",
        f"{HOST}/shop/waiting:1",
        "the webhook was too busy to query SWR in time, so trust is not known",
        AGAIN,
    ),
    (
        "our limit of calls",
        f"{HOST}/shop/flooded:1",
        "the webhook has too many images to look up, so trust is not known",
        AGAIN,
    ),
    (
        "our bug",
        f"{HOST}/shop/broken:1",
        "the webhook failed to query SWR, so trust is not known",
        AGAIN,
    ),
    (
        "what SWR is slow about",
        f"{HOST}/shop/long:1",
        "SWR did not answer in time for this image, but does for other images",
        "Try again in a minute. If the image is named by a digest alone, write name:tag@digest.",
    ),
    (
        "what SWR fails about",
        f"{HOST}/shop/heavy:1",
        "SWR fails for this image, so its trust is not known",
        "Try again in a minute, or use another tag, written name:tag@digest.",
    ),
    ("down", f"{HOST}/shop/down:1", "SWR cannot be reached, so trust is not known", MANUAL),
    (
        "not logged in",
        f"{HOST}/shop/key:1",
        "the SWR credential or registry login is missing or not accepted, so trust is not known",
        "Contact your cluster administrators.",
    ),
    (
        "not permitted",
        f"{HOST}/shop/hidden:1",
        "this cluster may not read the image in SWR; it may belong to another account",
        "Use an image of your own account, or contact your cluster administrators.",
    ),
    (
        "not understood",
        f"{HOST}/shop/odd:1",
        "SWR's response cannot be parsed, so trust is not known",
        "Contact your cluster administrators.",
    ),
]


@pytest.mark.parametrize(
    ("image", "what", "advice"), [case[1:] for case in SENTENCES], ids=[case[0] for case in SENTENCES]
)
def test_denial_states_field_image_cause_and_remedy(image: str, what: str, advice: str) -> None:
    """In this order, as a developer needs it."""
    message = Messages(policy()).denial(judge(image))
    assert message == f'denied by image trust policy: spec.containers[0].image "{image}": {what}. {advice}'


def test_unconfigured_organization_is_named_in_denial() -> None:
    """The message must not advise to move the image to the registry in which it already is."""
    shop = policy(registries=RegistryTable.of([registry(organizations=frozenset({"shop"}))]))
    assert Messages(shop).denial(judge(f"{HOST}/base/web:1", current=shop)) == (
        f'denied by image trust policy: spec.containers[0].image "{HOST}/base/web:1": organization "base" of '
        f'"{HOST}" is not one of this cluster\'s. Correct the organization, or ask your cluster administrators to add it.'
    )


def test_digest_without_tag_has_specific_message() -> None:
    """For policies that resolve digests."""
    resolve = policy(digest_only="resolve")
    untrusted, missing = judge(
        f"{HOST}/shop/web@{DIGEST}", f"{HOST}/shop/web@{OTHER_DIGEST}", current=resolve
    )
    messages = Messages(resolve)
    assert messages.describe(untrusted) == "not every tag with this digest in SWR is trusted"
    assert messages.advise(untrusted) == "Write name:tag@digest with a tag that is trusted."
    assert messages.describe(missing) == "no tag in SWR has this digest"
    assert messages.advise(missing) == "Push the image to SWR, or correct its digest."


def test_denial_holds_cause_and_remedy_of_each_image_together() -> None:
    """Fault E10: as many as fit are named; the operator's hint comes last."""
    hinting = policy(hint="See https://wiki.example.com/trust")
    message = Messages(hinting).denial(judge(f"{HOST}/shop/web:2", "nginx", "", current=hinting))
    assert message == (
        f'denied by image trust policy: spec.containers[0].image "{HOST}/shop/web:2": SWR does not mark this '
        "tag as trusted. Mark this tag as trusted in SWR, or use a tag that already is. "
        'spec.containers[1].image "nginx": images from registry "docker.io" are not allowed in this cluster. '
        f'Push the image to {HOST} and use it from there. spec.containers[2].image "": the image is empty. '
        f"{WRITE} See https://wiki.example.com/trust"
    )


def test_denial_of_many_images_states_number_of_omitted_images() -> None:
    """Fault E10: 4096 characters of them, then the number of the others."""
    message = Messages(policy()).denial(judge(*[f"nginx:{number}" for number in range(1000)]))
    named = message.count("spec.containers[")
    assert message.endswith(f" and {1000 - named} more; swr-trust review lists them all.")
    assert 20 < named < 40
    assert len(message) < 4096 + 100


def test_denial_is_in_chinese_if_configured() -> None:
    """Fault E10: the same in Chinese, by ``messages: zh``."""
    chinese = policy(messages="zh", hint="见 https://wiki.example.com")
    assert Messages(chinese).denial(judge(f"{HOST}/shop/web:2", "nginx", current=chinese)) == (
        f'镜像信任策略拒绝：spec.containers[0].image "{HOST}/shop/web:2"：SWR 未将该镜像版本标记为可信。'
        "请在 SWR 中将该镜像版本标记为可信，或改用可信的镜像版本。"
        'spec.containers[1].image "nginx"：本集群不允许使用来自仓库地址 "docker.io" 的镜像。'
        f"请将镜像推送到 {HOST}，并改用该地址的镜像。见 https://wiki.example.com"
    )


TEMPLATE = "spec.template.spec.containers[0].image"
FOLLOWS = [
    ("a Pod, warn", {"mode": Mode.WARN}, False, "would be denied once enforced", "强制执行后将被拒绝"),
    ("a workload", {}, True, "its Pods will be denied", "其 Pod 将被拒绝"),
    (
        "a workload, warn",
        {"mode": Mode.WARN},
        True,
        "its Pods would be denied once enforced",
        "强制执行后，其 Pod 将被拒绝",
    ),
]


@pytest.mark.parametrize(
    ("changes", "template", "english", "chinese"),
    [row[1:] for row in FOLLOWS],
    ids=[row[0] for row in FOLLOWS],
)
def test_warning_states_consequence(
    changes: dict[str, Any], template: bool, english: str, chinese: str
) -> None:
    """Fault E10: the request was admitted, so that the text of a denial alone would mislead."""
    field = TEMPLATE if template else "spec.containers[0].image"
    use = ImageUse(field, ("containers", "a"), f"{HOST}/shop/web:2", template=template)
    said = {}
    for language in ("en", "zh"):
        current = policy(messages=language, **changes)
        judged = Evaluator(current, FakeAnswers(FACTS)).evaluate([use], "shop", SOON, NOW)
        said[language] = Messages(current).warnings(judged)
    assert said == {
        "en": [
            f'image trust policy: {field} "{HOST}/shop/web:2": SWR does not mark this tag as trusted; '
            f"{english}. Mark this tag as trusted in SWR, or use a tag that already is."
        ],
        "zh": [
            f'镜像信任策略：{field} "{HOST}/shop/web:2"：SWR 未将该镜像版本标记为可信；'
            f"{chinese}。请在 SWR 中将该镜像版本标记为可信，或改用可信的镜像版本。"
        ],
    }


def test_warning_of_image_that_is_always_admitted_states_so() -> None:
    """Fault E10: the former text was "are not allowed", then "created"."""
    current = policy(unmanaged_registries="warn")
    assert Messages(current).warnings(judge("nginx", current=current)) == [
        'image trust policy: spec.containers[0].image "nginx": images from registry "docker.io" are not allowed '
        "in this cluster; admitted because the policy only warns about it. "
        f"Push the image to {HOST} and use it from there."
    ]


def test_warning_of_placeholder_does_not_mention_denial() -> None:
    """It is evaluated when the Pod is created."""
    use = ImageUse(TEMPLATE, ("containers", "a"), "auto", template=True)
    judged = Evaluator(policy(), FakeAnswers({})).evaluate([use], "shop", SOON, NOW)
    assert Messages(policy()).warnings(judged) == [
        f'image trust policy: {TEMPLATE} "auto": the image is a placeholder; it is evaluated when the Pod is '
        "created. No action is needed if a controller or webhook replaces it before the Pod is created."
    ]


def test_denial_names_denied_images_only() -> None:
    """Trusted images beside it are not named."""
    message = Messages(policy()).denial(judge(f"{HOST}/shop/web:1", "nginx"))
    assert "shop/web" not in message
    assert 'spec.containers[1].image "nginx"' in message


def test_warnings_stay_within_api_server_limits() -> None:
    """256 characters each, 4096 in total, the others counted."""
    warning = policy(mode=Mode.WARN)
    judged = judge(*[f"{HOST}/shop/{'x' * 100}:{n}" for n in range(100)], current=warning)
    assert {item.effect for item in judged} == {Effect.WARN}
    lines = Messages(warning).warnings(judged)
    assert all(len(line) <= 256 for line in lines)
    assert sum(map(len, lines)) <= 4096
    assert (
        lines[-1] == f"image trust policy: and {100 - len(lines) + 1} more; swr-trust review lists them all"
    )


def test_warning_shortens_long_name_before_omitting_remedy() -> None:
    """Fault E10: each image has its own remedy; only a field that fills the line leaves no room."""
    warning = policy(mode=Mode.WARN)
    long = f"{HOST}/shop/{'x' * 128}:1"
    fields = ["spec.jobTemplate.spec.template.spec.ephemeralContainers[100].image", "spec." + "a" * 120]
    uses = [ImageUse(where, ("containers", where), long) for where in fields]
    judged = Evaluator(warning, FakeAnswers({})).evaluate(uses, "shop", SOON, NOW)
    what = "tag does not exist in SWR; would be denied once enforced"
    lines = Messages(warning).warnings(judged)
    assert lines == [
        f'image trust policy: {fields[0]} "{long[:25]}...{long[-22:]}": {what}. '
        "Push the image to SWR, or correct its name and tag.",
        f'image trust policy: {fields[1]} "{long[:25]}...{long[-22:]}": {what}',
    ]
    assert all(len(line) <= 256 for line in lines)


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("short", 10, "short"),
        ("0123456789", 10, "0123456789"),
        ("0123456789abc", 10, "01234...bc"),
        ("a\nb", 10, r"a\nb"),
        ("a\x1b[31mb", 20, r"a\x1b[31mb"),
        ("\u202egnp", 20, r"\u202egnp"),
        ("\n" * 10, 10, r"\n\n\n\..."),
        ("é中", 10, "é中"),
    ],
)
def test_text_from_object_is_made_printable(text: str, limit: int, expected: str) -> None:
    """No control characters, no reversed text, a bounded length; the end of an image, its tag, is kept."""
    assert printable(text, limit) == expected


@given(st.text(), st.integers(10, 300))
def test_printable_text_is_printable_and_bounded(text: str, limit: int) -> None:
    """For any text."""
    made = printable(text, limit)
    assert made.isprintable()
    assert len(made) <= limit
    assert made == text or not text.isprintable() or ELLIPSIS in made


@given(st.text(max_size=600).filter(lambda text: text != f"{HOST}/shop/web:1"))
def test_any_image_yields_bounded_printable_message(image: str) -> None:
    """Braces, quotes and other characters in an image have no effect."""
    (item,) = judge(image)
    message = Messages(policy()).denial([item])
    assert item.check.finding in (Finding.INVALID, Finding.UNMANAGED)
    assert message.isprintable()
    assert len(message) < 700


def policy_for(key: str, language: str) -> Policy:
    """Return a policy with two keys of which both must sign; without keys for ``no-keys``."""
    names = () if key.endswith("no-keys") else ("release", "security")
    keys = tuple(SigningKey(name, f"/keys/{name}.pub", content=name.encode()) for name in names)
    signatures = SignatureSettings(keys, 2, (("stage", "prod"),))
    judged = registry(evidence=Evidence.SIGNATURE, signatures=signatures)
    return policy(messages=language, registries=RegistryTable.of([judged]))


def result_for(key: str, current: Policy, *, warn: bool = False) -> ImageResult:
    """Return the result of an image with a finding, by its key in the catalogs."""
    pins = rule("r", pin_digests=True) if key == "digest-mismatch/pinning" else None
    finding, _, reason = key.removesuffix("/pinning").partition("/")
    reason, _, fault = reason.partition("/")
    image = {"digest": f"{HOST}/shop/web@{DIGEST}", "implied": f"{HOST}/shop/web"}.get(
        reason, f"{HOST}/shop/web:1"
    )
    if reason == "no-keys":
        reason = "unsigned"
    failure = RegistryUnavailable("x", fault=Fault(fault or "registry")) if finding == "unknown" else None
    record = None
    if finding == "untrusted" and reason in list(SignatureResult):
        signed = SignatureCheck(SignatureResult(reason), NOW, signers=("release",))
        record = TrustRecord(TrustStatus.UNTRUSTED, NOW, DIGEST, signature=signed)
    else:
        reason = "" if reason in ("digest", "implied") else reason
    reference = parse_reference(image)
    effect = Effect.WARN if warn else Effect.DENY
    mode = Mode.WARN if warn else Mode.ENFORCE
    use = ImageUse("spec.containers[0].image", ("containers", "web"), image)
    check = CheckResult(Finding(finding), reason, record, failure=failure)
    return ImageResult(use, check, effect, would_deny=True, mode=mode, reference=reference, rule=pins)


WHOLE: dict[str, tuple[str, str]] = {
    "untrusted": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": SWR does not mark this tag as trusted. Mark this tag as trusted in SWR, or use a tag that already is.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：SWR 未将该镜像版本标记为可信。请在 SWR 中将该镜像版本标记为可信，或改用可信的镜像版本。',
    ),
    "untrusted/implied": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web": the tag defaults to latest, which SWR does not mark as trusted. Write name:tag with a tag that is trusted.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web"：未写镜像版本时默认为 latest，而 SWR 未将其标记为可信。请写成 name:tag，并使用可信的镜像版本。',
    ),
    "untrusted/digest": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": not every tag with this digest in SWR is trusted. Write name:tag@digest with a tag that is trusted.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"：SWR 中具有该摘要的镜像版本并非全部可信。请写成 name:tag@digest，并使用可信的镜像版本。',
    ),
    "untrusted/unsigned": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": the image is not signed. Sign it with 2 of the keys release, security, then try again.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：该镜像没有签名。请用密钥 release、security 中的 2 个对其签名，然后重试。',
    ),
    "untrusted/bad-signature": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": none of its signatures counts in this cluster. Sign it with 2 of the keys release, security, then try again.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：该镜像的签名在本集群均无效。请用密钥 release、security 中的 2 个对其签名，然后重试。',
    ),
    "untrusted/threshold": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": the image is signed by release only. It needs signatures of 2 of the keys release, security. Add the missing ones, then try again.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：该镜像仅由 release 签名。需要密钥 release、security 中的 2 个的签名，请补签后重试。',
    ),
    "untrusted/annotations": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": its signature does not have the annotations stage=prod. Sign it with 2 of the keys release, security and these annotations, then try again.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：该镜像的签名缺少注解 stage=prod。请用密钥 release、security 中的 2 个并带上这些注解重新签名，然后重试。',
    ),
    "untrusted/no-keys": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": too few keys count in this cluster at the moment, so no image is trusted. Contact your cluster administrators.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：本集群目前有效的签名公钥数量不足，因此没有可信的镜像。请联系集群管理员。',
    ),
    "missing": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": tag does not exist in SWR. Push the image to SWR, or correct its name and tag.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：SWR 中不存在该镜像版本。请将该镜像推送到 SWR，或更正其名称和镜像版本。',
    ),
    "missing/implied": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web": the tag defaults to latest, which does not exist in SWR. Write name:tag with a tag that exists.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web"：未写镜像版本时默认为 latest，而 SWR 中不存在该镜像版本。请写成 name:tag，并使用已存在的镜像版本。',
    ),
    "missing/digest": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": no tag in SWR has this digest. Push the image to SWR, or correct its digest.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"：SWR 中没有具有该摘要的镜像版本。请将该镜像推送到 SWR，或更正其摘要。',
    ),
    "digest-mismatch": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": the pinned digest is not the digest of this tag in SWR. Pin the digest that SWR shows for the tag, or use the tag with this digest.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：指定的摘要与 SWR 中该镜像版本的摘要不一致。请使用 SWR 中该镜像版本的摘要，或改用具有该摘要的镜像版本。',
    ),
    "digest-mismatch/pinning": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": the pinned digest is not the digest of this tag in SWR. If you wrote the tag alone, it has just been moved: try again. Otherwise pin the digest that SWR shows for the tag.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：指定的摘要与 SWR 中该镜像版本的摘要不一致。如果只写了镜像版本，则该版本刚被更新，请重试；否则请使用 SWR 中该镜像版本的摘要。',
    ),
    "invalid": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": is not a valid image reference. Write the image as swr.cn-north-4.myhuaweicloud.com/organization/name:tag.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：不是有效的镜像引用。请将镜像写成 swr.cn-north-4.myhuaweicloud.com/组织/名称:镜像版本。',
    ),
    "invalid/empty": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": the image is empty. Write the image as swr.cn-north-4.myhuaweicloud.com/organization/name:tag.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：镜像为空。请将镜像写成 swr.cn-north-4.myhuaweicloud.com/组织/名称:镜像版本。',
    ),
    "invalid/uppercase": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": an image name must be lower case. Write the image name in lower case.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：镜像名称必须为小写。请用小写书写镜像名称。',
    ),
    "invalid/bad-tag": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": the tag is not valid. Use up to 128 letters, digits, dots, hyphens and underscores.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：镜像版本无效。镜像版本最多 128 个字符，只能使用字母、数字、点、连字符和下划线。',
    ),
    "invalid/bad-digest": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": the digest is not sha256: and 64 hexadecimal digits. Copy the whole digest from SWR.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：摘要不是 sha256: 加 64 位十六进制数。请从 SWR 完整复制摘要。',
    ),
    "invalid/digest-algorithm": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": the digest is not a sha256 digest. Copy the sha256 digest from SWR.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：摘要不是 sha256 摘要。请从 SWR 复制 sha256 摘要。',
    ),
    "invalid/image-id": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": is the ID of an image on a node, not a name. Write the image as swr.cn-north-4.myhuaweicloud.com/organization/name:tag.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：是节点上镜像的 ID，而不是镜像名称。请将镜像写成 swr.cn-north-4.myhuaweicloud.com/组织/名称:镜像版本。',
    ),
    "invalid/scheme": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": the image starts with a scheme such as https://. Write the image as swr.cn-north-4.myhuaweicloud.com/organization/name:tag.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：镜像以 https:// 之类的协议开头。请将镜像写成 swr.cn-north-4.myhuaweicloud.com/组织/名称:镜像版本。',
    ),
    "invalid/whitespace": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": the image contains white space. Remove the white space.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：镜像中含有空白字符。请删除空白字符。',
    ),
    "invalid/control-character": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": the image contains a control character. Write the image as swr.cn-north-4.myhuaweicloud.com/organization/name:tag.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：镜像中含有控制字符。请将镜像写成 swr.cn-north-4.myhuaweicloud.com/组织/名称:镜像版本。',
    ),
    "invalid/non-ascii": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": the image contains a character that is not ASCII. Write the image as swr.cn-north-4.myhuaweicloud.com/organization/name:tag.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：镜像中含有非 ASCII 字符。请将镜像写成 swr.cn-north-4.myhuaweicloud.com/组织/名称:镜像版本。',
    ),
    "invalid/too-long": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": the image name is too long. Use a shorter image name.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：镜像名称过长。请使用更短的镜像名称。',
    ),
    "invalid/bad-host": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": the registry host is not valid. Write the image as swr.cn-north-4.myhuaweicloud.com/organization/name:tag.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：仓库地址无效。请将镜像写成 swr.cn-north-4.myhuaweicloud.com/组织/名称:镜像版本。',
    ),
    "invalid/bad-path": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": the image name is not valid. Write the image as swr.cn-north-4.myhuaweicloud.com/organization/name:tag.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：镜像名称无效。请将镜像写成 swr.cn-north-4.myhuaweicloud.com/组织/名称:镜像版本。',
    ),
    "invalid/organization": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": SWR does not allow such an organization name. Write the image as swr.cn-north-4.myhuaweicloud.com/organization/name:tag, with its organization.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：SWR 不允许使用这样的组织名称。请将镜像写成 swr.cn-north-4.myhuaweicloud.com/组织/名称:镜像版本，并使用 SWR 中的组织名称。',
    ),
    "invalid/no-organization": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": the image has no SWR organization. Write the image as swr.cn-north-4.myhuaweicloud.com/organization/name:tag, with its organization.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：镜像中缺少 SWR 组织。请将镜像写成 swr.cn-north-4.myhuaweicloud.com/组织/名称:镜像版本，并写出组织。',
    ),
    "invalid/repository": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": SWR does not allow such a repository name. Write the image as swr.cn-north-4.myhuaweicloud.com/organization/name:tag, with its name in SWR.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：SWR 不允许使用这样的镜像仓库名称。请将镜像写成 swr.cn-north-4.myhuaweicloud.com/组织/名称:镜像版本，并使用 SWR 中的镜像名称。',
    ),
    "invalid/placeholder": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": the image is a placeholder; it is evaluated when the Pod is created. No action is needed if a controller or webhook replaces it before the Pod is created.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：该镜像是占位符，将在创建 Pod 时判定。如果控制器或 Webhook 会在创建 Pod 之前替换该占位符，则无需处理。',
    ),
    "invalid/digest-only": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": the image has no tag, and SWR is queried by tag. Write name:tag@sha256:..., with the digest that SWR shows for the tag.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：只写了摘要，未写镜像版本，而 SWR 按镜像版本查询。请写成 name:tag@sha256:...，摘要以 SWR 中该镜像版本显示的为准。',
    ),
    "invalid/digest-required": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": this namespace requires images pinned to a digest. Write name:tag@sha256:..., with the digest that SWR shows for the tag. With pinDigests, the webhook writes it.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：该命名空间要求镜像指定摘要。请写成 name:tag@sha256:...，摘要以 SWR 中该镜像版本显示的为准；启用 pinDigests 后由 Webhook 写入。',
    ),
    "invalid/not-pinned": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": this namespace requires images pinned to a digest, and no webhook pinned it. Try again. If the problem persists, contact your cluster administrators.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：该命名空间要求镜像指定摘要，而该镜像未被写入摘要。请重试；如仍失败，请联系集群管理员。',
    ),
    "invalid/pull-policy": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": this namespace requires imagePullPolicy Always. Set imagePullPolicy: Always.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：该命名空间要求 imagePullPolicy 为 Always。请设置 imagePullPolicy: Always。',
    ),
    "unmanaged": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": images from registry "swr.cn-north-4.myhuaweicloud.com" are not allowed in this cluster. Push the image to swr.cn-north-4.myhuaweicloud.com and use it from there.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：本集群不允许使用来自仓库地址 "swr.cn-north-4.myhuaweicloud.com" 的镜像。请将镜像推送到 swr.cn-north-4.myhuaweicloud.com，并改用该地址的镜像。',
    ),
    "unmanaged/organization": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": organization "shop" of "swr.cn-north-4.myhuaweicloud.com" is not one of this cluster\'s. Correct the organization, or ask your cluster administrators to add it.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：仓库地址 "swr.cn-north-4.myhuaweicloud.com" 的组织 "shop" 不属于本集群。请更正组织名称，或联系集群管理员添加该组织。',
    ),
    "unmanaged/enterprise": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": this registry of SWR Enterprise is not configured, so its images cannot be evaluated. Push the image to swr.cn-north-4.myhuaweicloud.com and use it from there, or ask your cluster administrators to add a registry with edition: enterprise.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：未配置该 SWR 企业版镜像仓库服务，因此无法判定其镜像。请将镜像推送到 swr.cn-north-4.myhuaweicloud.com，并改用该地址的镜像，或联系集群管理员添加 edition: enterprise 的镜像仓库服务。',
    ),
    "unknown": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": SWR could not be queried, so trust is not known. Try again in a minute. If the problem persists, contact your cluster administrators.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：无法查询 SWR，因此无法得知该镜像是否可信。请一分钟后重试；如仍失败，请联系集群管理员。',
    ),
    "unknown/timeout": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": SWR did not answer in time, so trust is not known. Try again in a minute. If the problem persists, contact your cluster administrators.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：SWR 未及时响应，因此无法得知该镜像是否可信。请一分钟后重试；如仍失败，请联系集群管理员。',
    ),
    "unknown/timeout/local": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": the webhook was too busy to query SWR in time, so trust is not known. Try again in a minute. If the problem persists, contact your cluster administrators.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：Webhook 繁忙，未能及时查询 SWR，因此无法得知该镜像是否可信。请一分钟后重试；如仍失败，请联系集群管理员。',
    ),
    "unknown/timeout/image": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": SWR did not answer in time for this image, but does for other images. Try again in a minute. If the image is named by a digest alone, write name:tag@digest.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：SWR 未及时响应对该镜像的查询，但其他镜像的查询正常。请一分钟后重试；如仅以摘要引用该镜像，请写成 name:tag@digest。',
    ),
    "unknown/throttled": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": SWR is rate-limiting requests, so the trust of this image is not known. Try again in a minute. If the problem persists, contact your cluster administrators.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：SWR 正在限流，因此无法得知该镜像是否可信。请一分钟后重试；如仍失败，请联系集群管理员。',
    ),
    "unknown/throttled/local": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": the webhook has too many images to look up, so trust is not known. Try again in a minute. If the problem persists, contact your cluster administrators.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：Webhook 等待查询的镜像过多，因此无法得知该镜像是否可信。请一分钟后重试；如仍失败，请联系集群管理员。',
    ),
    "unknown/unavailable": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": SWR cannot be reached, so trust is not known. Try again in a minute. If the problem persists, contact your cluster administrators.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：无法连接 SWR，因此无法得知该镜像是否可信。请一分钟后重试；如仍失败，请联系集群管理员。',
    ),
    "unknown/unavailable/local": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": the webhook failed to query SWR, so trust is not known. Try again in a minute. If the problem persists, contact your cluster administrators.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：Webhook 查询 SWR 时发生故障，因此无法得知该镜像是否可信。请一分钟后重试；如仍失败，请联系集群管理员。',
    ),
    "unknown/unavailable/image": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": SWR fails for this image, so its trust is not known. Try again in a minute, or use another tag, written name:tag@digest.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：SWR 在查询该镜像时出错，因此无法得知其是否可信。请一分钟后重试，或改用其他镜像版本，写成 name:tag@digest。',
    ),
    "unknown/unauthorized": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": the SWR credential or registry login is missing or not accepted, so trust is not known. Contact your cluster administrators.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：Webhook 的 SWR 凭证或镜像仓库登录信息缺失或未被接受，因此无法得知该镜像是否可信。请联系集群管理员。',
    ),
    "unknown/forbidden": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": this cluster may not read the image in SWR; it may belong to another account. Use an image of your own account, or contact your cluster administrators.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：本集群无权在 SWR 中读取该镜像，它可能属于其他账号。请使用自己账号的镜像，或联系集群管理员。',
    ),
    "unknown/malformed": (
        'denied by image trust policy: spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1": SWR\'s response cannot be parsed, so trust is not known. Contact your cluster administrators.',
        '镜像信任策略拒绝：spec.containers[0].image "swr.cn-north-4.myhuaweicloud.com/shop/web:1"：无法解析 SWR 的响应，因此无法得知该镜像是否可信。请联系集群管理员。',
    ),
}
"""The whole denial in English and in Chinese, by key."""


@pytest.mark.parametrize("key", WHOLE)
def test_whole_denial_in_both_languages(key: str) -> None:
    """Problem and remedy of each finding."""
    denials = []
    for language in ("en", "zh"):
        current = policy_for(key, language)
        denials.append(Messages(current).denial([result_for(key, current)]))
    assert tuple(denials) == WHOLE[key]


def test_every_finding_has_a_whole_denial() -> None:
    """Only admitted findings have none."""
    assert set(WHOLE) == set(CATALOGUES["en"].what) - {"trusted", "exempt"}


@pytest.mark.parametrize("key", WHOLE)
def test_whole_warning_says_what_follows_in_both_languages(key: str) -> None:
    """It is between problem and remedy; the remedy may be omitted, the consequence never."""
    for language, follows in (("en", "; would be denied once enforced"), ("zh", "；强制执行后将被拒绝")):
        current = policy_for(key, language)
        messages, item = Messages(current), result_for(key, current, warn=True)
        (warning,) = messages.warnings([item])
        assert f"{messages.describe(item)}{follows}" in warning
        assert len(warning) <= 256


REQUESTS: dict[str, tuple[str, str]] = {
    "unknown-kind": (
        "denied by image trust policy: the webhook cannot read CREATE batch/jobs; its rules must not match this kind. Contact your cluster administrators.",
        "镜像信任策略拒绝：Webhook 无法读取 CREATE batch/jobs，Webhook 配置中的规则不应匹配该类型。请联系集群管理员。",
    ),
    "unreadable": (
        "denied by image trust policy: the object cannot be evaluated: x. Contact your cluster administrators.",
        "镜像信任策略拒绝：无法判定该对象：x。请联系集群管理员。",
    ),
    "busy": (
        "denied by image trust policy: the webhook is reading too many large objects at the moment. Try again in a minute. If the problem persists, contact your cluster administrators.",
        "镜像信任策略拒绝：Webhook 当前正在读取的大型对象过多。请一分钟后重试；如仍失败，请联系集群管理员。",
    ),
    "crash": (
        "denied by image trust policy: the webhook failed, and a request that it cannot evaluate is denied. Try again in a minute. If the problem persists, contact your cluster administrators.",
        "镜像信任策略拒绝：Webhook 发生故障，无法判定的请求一律拒绝。请一分钟后重试；如仍失败，请联系集群管理员。",
    ),
}
"""The whole denial of a request without images, by the key of its sentence."""

VALUES: dict[str, dict[str, Any]] = {
    "unknown-kind": {"resource": "CREATE batch/jobs"},
    "unreadable": {"detail": "x"},
    "busy": {},
    "crash": {},
}


@pytest.mark.parametrize("name", VALUES)
def test_whole_denial_of_a_request_in_both_languages(name: str) -> None:
    """The problem, the consequence and the remedy."""
    denials = [Messages(policy(messages=lang)).denial_message(name, **VALUES[name]) for lang in ("en", "zh")]
    assert tuple(denials) == REQUESTS[name]


@pytest.mark.parametrize(
    ("count", "threshold", "english", "chinese"),
    [
        (1, 1, "the key a", "密钥 a "),
        (2, 1, "one of the keys a, b", "密钥 a、b 中的任意一个"),
        (3, 2, "2 of the keys a, b, c", "密钥 a、b、c 中的 2 个"),
        (5, 1, "one of the keys a, b, c and 2 more", "密钥 a、b、c 和另外 2 个 中的任意一个"),
    ],
)
def test_denial_of_an_unsigned_image_names_keys_to_sign_with(
    count: int, threshold: int, english: str, chinese: str
) -> None:
    """At most three; the others are counted."""
    keys = tuple(SigningKey(name, f"/keys/{name}.pub", content=name.encode()) for name in "abcde"[:count])
    judged = registry(evidence=Evidence.SIGNATURE, signatures=SignatureSettings(keys, threshold))
    table = RegistryTable.of([judged])
    policies = [policy(registries=table), policy(registries=table, messages="zh")]
    found = [Messages(current).advise(result_for("untrusted/unsigned", current)) for current in policies]
    assert found == [f"Sign it with {english}, then try again.", f"请用{chinese}对其签名，然后重试。"]


@pytest.mark.parametrize("reason", ["unsigned", "bad-signature", "threshold"])
def test_no_signature_is_asked_for_while_fewer_keys_count_than_must_sign(reason: str) -> None:
    """A developer could not add the signature of a key that has lapsed."""
    keys = (SigningKey("a", "/keys/a.pub", content=b"a"), SigningKey("b", "/keys/b.pub"))
    judged = registry(evidence=Evidence.SIGNATURE, signatures=SignatureSettings(keys, 2))
    current = policy(registries=RegistryTable.of([judged]))
    denial = Messages(current).denial([result_for(f"untrusted/{reason}", current)])
    assert denial.endswith("so no image is trusted. Contact your cluster administrators.")
