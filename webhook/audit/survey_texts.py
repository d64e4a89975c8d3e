"""The sentences of a survey, in English and Chinese: what was found, and what is recommended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from webhook.audit.survey import ProjectIdAnswer, RegistrySurvey, TagCall
from webhook.audit.survey_advice import Advice, recommend
from webhook.policy.findings import Mode
from webhook.registries import Evidence

Language = Literal["en", "zh"]

MAX_LISTED: Final = 10
"""Keys or causes of failures that a sentence lists."""

_EN: Final[Mapping[str, str]] = {
    "ready": "evidence: {evidence} can be enforced: it accepts every image that exists ({existing}).",
    "stricter": "evidence: both accepts them all, too, and is stricter.",
    "switch": "Set evidence: {evidence}. It accepts every image that exists ({existing}), "
    "and evidence: {configured} accepts {accepted} of them.",
    "prepare": "evidence: {evidence} accepts {passing} of the {existing} images that exist.",
    "prepare-other": "Set evidence: {evidence}. It accepts {passing} of the {existing} images that exist, "
    "and evidence: {configured} accepts {accepted}.",
    "sign": "Sign the others before you enforce.",
    "sign-and-mark": "Sign the others, and have SWR mark them, before you enforce.",
    "mark": "Find out how your account marks images, and mark the others before you enforce.",
    "check-keys": "Signatures are stored for {stored}, and none of them counts. Check keys, threshold and "
    "annotations under signatures, then run swr-trust survey again.",
    "unusable-keys": "Signatures are stored for {stored}, and count for {signed}. These keys have lapsed "
    "or are unreadable: {unusable}. Correct signatures.keys, then run swr-trust survey again.",
    "add-keys": "Signatures are stored for {stored}, and no key is configured to verify them. Add the public "
    "keys of the signers under signatures.keys, then run swr-trust survey again.",
    "no-evidence": "NOTHING CAN BE TRUSTED: no image that exists ({existing}) is marked, and none is signed. "
    "Sign them, or find out how your account marks images, before you enforce.",
    "no-signature": "NOTHING CAN BE TRUSTED: no image that exists ({existing}) is signed. "
    "Sign them before you enforce.",
    "no-mark": "NOTHING CAN BE TRUSTED BY ITS MARK: no image that exists ({existing}) is marked. "
    "swr-trust survey shows whether they are signed.",
    "unknown": "Too little is known for a recommendation. Run swr-trust doctor, "
    "then run swr-trust survey again.",
    "nothing-runs": "No image that exists runs from this registry, so nothing can be recommended.",
    "enforced": "The mode is enforce, so all images of this registry are denied now.",
    "missing": "Not in the registry, so that every evidence denies them: {missing}.",
    "undetermined": "Not known whether evidence: {evidence} accepts them: {undetermined}.",
    "signers": "Images signed by each key: {names}.",
    "formats": "Formats of these signatures: {names}.",
    "unverified": "Formats of the signatures, which were not verified: {names}.",
    "none-counts": "Formats of the signatures, none of which counts: {names}.",
    "published": "ShowRepoTag is published here.",
    "unpublished": "ShowRepoTag is not published here. Tag lists are used instead, which need the action "
    "swr:repo:listRepoTags.",
    "project-none": "No project ID is configured. SWR {none} without one.",
    "project-both": "SWR {configured} with the configured project ID, and {none} without one.",
    "answered": "answers",
    "refused": "refuses",
    "not-known": "was not known to answer",
    "not-tried": "was not asked",
    "failure": "Not known of {images}: {detail}.",
    "recommendation": "Recommendation: {text}",
    "item": "{name} ({number})",
    "images": "{number} images",
    "image": "1 image",
    "join": ", ",
    "space": " ",
}

_ZH: Final[Mapping[str, str]] = {
    "ready": "可以强制执行 evidence: {evidence}：它接受全部 {existing} 个现有镜像。",
    "stricter": "evidence: both 同样接受全部镜像，而且更严格。",
    "switch": "请设置 evidence: {evidence}。它接受全部 {existing} 个现有镜像，"
    "而 evidence: {configured} 只接受其中 {accepted} 个。",
    "prepare": "evidence: {evidence} 接受 {existing} 个现有镜像中的 {passing} 个。",
    "prepare-other": "请设置 evidence: {evidence}。它接受 {existing} 个现有镜像中的 {passing} 个，"
    "而 evidence: {configured} 接受 {accepted} 个。",
    "sign": "强制执行之前，请为其余镜像签名。",
    "sign-and-mark": "强制执行之前，请为其余镜像签名，并在 SWR 中设置可信标记。",
    "mark": "强制执行之前，请确认您的账号如何设置可信标记，并标记其余镜像。",
    "check-keys": "{stored}有签名，但没有一个有效。请检查 signatures 下的公钥、threshold 和 annotations，"
    "然后重新运行 swr-trust survey。",
    "unusable-keys": "{stored}有签名，其中 {signed} 个镜像的签名有效。以下密钥已过期或无法读取：{unusable}。"
    "请更正 signatures.keys，然后重新运行 swr-trust survey。",
    "add-keys": "{stored}有签名，但没有配置用于验证的公钥。请将签名者的公钥加入 signatures.keys，"
    "然后重新运行 swr-trust survey。",
    "no-evidence": "没有任何镜像可信：{existing} 个现有镜像均未标记为可信，也都没有签名。"
    "强制执行之前，请为镜像签名，或确认您的账号如何设置可信标记。",
    "no-signature": "没有任何镜像可信：{existing} 个现有镜像都没有签名。强制执行之前，请为镜像签名。",
    "no-mark": "没有镜像凭可信标记可信：{existing} 个现有镜像均未标记为可信。"
    "运行 swr-trust survey 可查看镜像是否已签名。",
    "unknown": "已知信息太少，无法给出建议。请运行 swr-trust doctor，然后重新运行 swr-trust survey。",
    "nothing-runs": "没有正在运行且存在于该镜像仓库服务中的镜像，无法给出建议。",
    "enforced": "当前模式为 enforce，因此该镜像仓库服务的所有镜像现在都会被拒绝。",
    "missing": "{missing}在镜像仓库服务中不存在，使用任何 evidence 都会被拒绝。",
    "undetermined": "无法确定 evidence: {evidence} 是否接受其中 {undetermined}。",
    "signers": "各密钥签名的镜像数：{names}。",
    "formats": "这些签名的格式：{names}。",
    "unverified": "签名的格式（签名未经验证）：{names}。",
    "none-counts": "签名的格式（签名均无效）：{names}。",
    "published": "该区域提供 ShowRepoTag 接口。",
    "unpublished": "该区域不提供 ShowRepoTag 接口，因此改为读取镜像版本列表，"
    "需要 swr:repo:listRepoTags 权限。",
    "project-none": "未配置项目 ID。不带项目 ID 时，SWR {none}。",
    "project-both": "使用所配置的项目 ID 时，SWR {configured}；不带项目 ID 时，SWR {none}。",
    "answered": "正常响应",
    "refused": "拒绝请求",
    "not-known": "是否响应未知",
    "not-tried": "未被查询",
    "failure": "{images}的情况未知：{detail}。",
    "recommendation": "建议：{text}",
    "item": "{name}（{number}）",
    "images": "{number} 个镜像",
    "image": "1 个镜像",
    "join": "、",
    "space": "",
}

TEXTS: Final[Mapping[Language, Mapping[str, str]]] = {"en": _EN, "zh": _ZH}

_PREPARATIONS: Final[Mapping[Evidence, str]] = {
    Evidence.TAG_DETAIL: "mark",
    Evidence.SIGNATURE: "sign",
    Evidence.BOTH: "sign-and-mark",
}

_PROJECT_ANSWERS: Final[Mapping[ProjectIdAnswer, str]] = {
    ProjectIdAnswer.ANSWERED: "answered",
    ProjectIdAnswer.REFUSED: "refused",
    ProjectIdAnswer.UNKNOWN: "not-known",
    ProjectIdAnswer.NOT_TRIED: "not-tried",
}


def describe(survey: RegistrySurvey, language: Language = "en") -> list[str]:
    """Return sentences about what was found in a registry, besides the numbers of images."""
    texts, counts = TEXTS[language], survey.counts
    lines = []
    if counts.signers:
        lines.append(texts["signers"].format(names=_list(counts.signers, texts)))
        lines.append(texts["formats"].format(names=_list(counts.formats, texts)))
    elif counts.stored_formats:
        key = "none-counts" if survey.has_keys else "unverified"
        lines.append(texts[key].format(names=_list(counts.stored_formats, texts)))
    if survey.tag_call is not TagCall.UNKNOWN:
        lines.append(texts[survey.tag_call])
    if survey.project_ids is not None:
        none = texts[_PROJECT_ANSWERS[survey.project_ids.none]]
        if survey.project_ids.configured is None:
            lines.append(texts["project-none"].format(none=none))
        else:
            configured = texts[_PROJECT_ANSWERS[survey.project_ids.configured]]
            lines.append(texts["project-both"].format(configured=configured, none=none))
    for detail, number in survey.failures.most_common(MAX_LISTED):
        lines.append(texts["failure"].format(images=_images(number, texts), detail=detail))
    return lines


def recommendation(survey: RegistrySurvey, mode: Mode, language: Language = "en") -> str:
    """Return what is recommended for a registry, under the mode of the policy: one or more sentences."""
    texts, counts = TEXTS[language], survey.counts
    found, configured = recommend(survey), survey.registry.evidence
    values = {
        "evidence": found.evidence,
        "configured": configured,
        "existing": counts.existing,
        "passing": counts.passing[found.evidence] if found.evidence is not None else 0,
        "accepted": counts.passing[configured],
        "stored": _images(counts.with_signatures, texts),
        "signed": counts.signed,
        "unusable": texts["join"].join(survey.unusable_keys[:MAX_LISTED]),
        "missing": _images(counts.missing, texts),
        "undetermined": _images(
            counts.undetermined(found.evidence) if found.evidence is not None else 0, texts
        ),
    }
    keys = _advice_keys(survey, found.advice, found.evidence)
    if mode is Mode.ENFORCE and counts.existing and counts.denied_existing(configured) == counts.existing:
        keys.append("enforced")
    if counts.missing:
        keys.append("missing")
    if found.evidence is not None and counts.undetermined(found.evidence):
        keys.append("undetermined")
    return texts["space"].join(texts[key].format(**values) for key in keys)


def _advice_keys(survey: RegistrySurvey, advice: Advice, evidence: Evidence | None) -> list[str]:
    counts, configured = survey.counts, survey.registry.evidence
    match advice:
        case Advice.READY:
            is_stricter = configured is not Evidence.BOTH and Evidence.BOTH in survey.candidates
            if is_stricter and counts.passing[Evidence.BOTH] == counts.passing[configured]:
                return ["ready", "stricter"]
            return ["ready"]
        case Advice.PREPARE:
            first = "prepare" if evidence is configured else "prepare-other"
            keys = [first, _PREPARATIONS[evidence] if evidence is not None else "mark"]
            if counts.with_signatures and not counts.signed:
                keys.append("check-keys" if survey.has_keys else "add-keys")
            return keys
        case Advice.NO_EVIDENCE:
            return ["no-signature" if survey.registry.is_enterprise else "no-evidence"]
        case Advice.CHECK_KEYS if survey.unusable_keys:
            return ["unusable-keys"]
        case _:
            return [advice.value]


def _list(numbers: Mapping[str, int], texts: Mapping[str, str]) -> str:
    ranked = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))[:MAX_LISTED]
    return texts["join"].join(texts["item"].format(name=name, number=number) for name, number in ranked)


def _images(number: int, texts: Mapping[str, str]) -> str:
    return texts["image" if number == 1 else "images"].format(number=number)
