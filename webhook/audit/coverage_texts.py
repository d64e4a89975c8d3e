"""The last lines of a survey, and the gaps and notes of every report, in English and Chinese.

Gaps and notes are written in English where they arise. ``translate`` returns their Chinese.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from webhook.audit.report import MAX_NAMED
from webhook.audit.surveying import SurveyReport
from webhook.policy.findings import Finding

_EN: Final[Mapping[str, str]] = {
    "partial": "This survey is PARTIAL: {}.",
    "exempt": "Left out, exempt: {}.",
    "unmanaged": "Left out, of registries that are not configured: {}.",
    "invalid": "Left out, that the policy denies without a lookup: {}.",
    "omitted": "Left out, because there are too many: {}.",
    "static": "Left out, because they are static: {}.",
    "excluded": "Left out, in excluded namespaces ({}): {}.",
    "no-pods": "No Pods were seen.",
    "more": "{} more: use -o json for all images",
    "more-names": "{} and {} more",
    "join": ", ",
    "stop": ".",
    "images": "{} images",
    "image": "1 image",
    "pods": "{} Pods",
    "pod": "1 Pod",
}

_ZH: Final[Mapping[str, str]] = {
    "partial": "盘点结果不完整：{}。",
    "exempt": "已豁免，未计入：{}。",
    "unmanaged": "镜像仓库服务未配置，未计入：{}。",
    "invalid": "策略不经查询即拒绝，未计入：{}。",
    "omitted": "镜像过多，未计入：{}。",
    "static": "静态 Pod，未计入：{}。",
    "excluded": "位于排除的命名空间（{}），未计入：{}。",
    "no-pods": "没有发现 Pod。",
    "more": "另有 {} 个镜像，使用 -o json 可查看全部",
    "more-names": "{} 等，另有 {} 个",
    "join": "、",
    "stop": "。",
    "images": "{} 个镜像",
    "image": "1 个镜像",
    "pods": "{} 个 Pod",
    "pod": "1 个 Pod",
}

TEXTS: Final[Mapping[Literal["en", "zh"], Mapping[str, str]]] = {"en": _EN, "zh": _ZH}

GAPS: Final[Mapping[str, str]] = {
    "it was interrupted": "执行被中断",
    "not everything is known about 1 image": "有 1 个镜像的部分情况无法确定",
    "not everything is known about {} images": "有 {} 个镜像的部分情况无法确定",
    "SWR gave no answer about 1 image": "SWR 未返回 1 个镜像的结果",
    "SWR gave no answer about {} images": "SWR 未返回 {} 个镜像的结果",
    "the namespace {} does not exist, or no longer": "命名空间 {} 不存在，或已被删除",
    "the Pod {} cannot be read: {}": "无法读取 Pod {}：{}",
    "the API server does not let you list Pods in the namespace {}: "
    "you need the verb list on pods there ({})": (
        "API Server 拒绝列出命名空间 {} 中的 Pod：您需要该命名空间中 pods 的 list 权限（{}）"
    ),
    "the API server does not let you list Pods in all namespaces: "
    "name some with -n, or get the right to ({})": (
        "API Server 拒绝列出所有命名空间的 Pod：请用 -n 指定命名空间，或申请该权限（{}）"
    ),
    "the list of Pods in the namespace {} expired again and again while it was read: {}": (
        "读取命名空间 {} 的 Pod 列表时，列表多次过期：{}"
    ),
    "the list of Pods in all namespaces expired again and again while it was read: {}": (
        "读取所有命名空间的 Pod 列表时，列表多次过期：{}"
    ),
    "Pods in the namespace {} could not be read to the end: {}": "未能读取命名空间 {} 的全部 Pod：{}",
    "Pods in all namespaces could not be read to the end: {}": "未能读取所有命名空间的全部 Pod：{}",
    "the list of Pods was restarted, so its Pods are of several moments": (
        "Pod 列表曾重新读取，因此其中的 Pod 不是同一时刻的状态"
    ),
    "some workloads are named after their ReplicaSets or Jobs: {}": (
        "部分工作负载显示的是其 ReplicaSet 或 Job 的名称：{}"
    ),
    "It is not known which namespaces are not sent to the webhook: {}. The defaults of the chart "
    "are left out instead; --exclude-namespace names others": (
        "无法得知哪些命名空间的请求不发送到 Webhook：{}。因此按 Chart 的默认值排除；"
        "如需排除其他命名空间，请使用 --exclude-namespace"
    ),
    "no ValidatingWebhookConfiguration named {} receives Pods": (
        "名为 {} 的 ValidatingWebhookConfiguration 不接收 Pod"
    ),
    "no ValidatingWebhookConfiguration labelled {} receives Pods": (
        "没有带有标签 {} 且接收 Pod 的 ValidatingWebhookConfiguration"
    ),
    "you need the verb list on {} ({})": "您需要 {} 的 list 权限（{}）",
    "the cluster has more than {} namespaces": "集群的命名空间超过 {} 个",
    "the command was interrupted in {}": "命令在读取 {} 时被中断",
    "the log contains no decisions of that time; check that it is the webhook's JSON log": (
        "日志中没有该时间段的准入决定；请确认该文件是 Webhook 的 JSON 日志"
    ),
    "{} cannot be read: {}": "无法读取 {}：{}",
}
"""Every gap and note, by its English text. ``{}`` is replaced by a value, which is translated as well."""


def _compile(template: str) -> re.Pattern[str]:
    return re.compile("(.*)".join(map(re.escape, template.split("{}"))), re.DOTALL)


_PATTERNS: Final = [(_compile(english), chinese) for english, chinese in GAPS.items()]


def translate(sentence: str) -> str:
    """Return a gap or note in Chinese; what is in no table, such as an error of the API server, stays."""
    for pattern, chinese in _PATTERNS:
        if found := pattern.fullmatch(sentence):
            return chinese.format(*map(translate, found.groups()))
    return sentence


def name_namespaces(names: Sequence[str], language: Literal["en", "zh"]) -> str:
    """Return the first names of a list, and how many more there are."""
    texts = TEXTS[language]
    shown = texts["join"].join(names[:MAX_NAMED])
    return texts["more-names"].format(shown, len(names) - MAX_NAMED) if len(names) > MAX_NAMED else shown


def describe_coverage(report: SurveyReport, language: Literal["en", "zh"]) -> list[str]:
    """Return sentences about what was not surveyed, the last lines of a survey."""
    texts = TEXTS[language]
    gaps, notes = report.gaps, report.notes
    if language == "zh":
        gaps, notes = [*map(translate, gaps)], [*map(translate, notes)]
    lines = [texts["partial"].format(gap) for gap in gaps]
    lines += [
        texts[finding].format(_count(images, "image", texts))
        for finding, images in report.left_out.items()
        if finding in (Finding.EXEMPT, Finding.UNMANAGED, Finding.INVALID)
    ]
    if report.omitted:
        lines.append(texts["omitted"].format(_count(report.omitted, "image", texts)))
    if report.static:
        lines.append(texts["static"].format(_count(report.static, "pod", texts)))
    if report.excluded:
        names = name_namespaces(report.excluded_namespaces, language)
        lines.append(texts["excluded"].format(names, _count(report.excluded, "pod", texts)))
    lines += [f"{note}{texts['stop']}" for note in notes]
    if not report.pods:
        lines.append(texts["no-pods"])
    return lines


def _count(number: int, noun: str, texts: Mapping[str, str]) -> str:
    return texts[noun] if number == 1 else texts[f"{noun}s"].format(number)
