"""What a report does not cover, in both languages."""

from __future__ import annotations

import datetime as dt
import re

import pytest

from webhook.audit.coverage_texts import GAPS, TEXTS, describe_coverage, name_namespaces, translate
from webhook.audit.report import MAX_NAMED
from webhook.audit.surveying import SurveyReport
from webhook.policy.findings import Finding, Mode

PLACEHOLDER = re.compile(r"\{[^}]*\}")


def report() -> SurveyReport:
    """Return a report of which everything is missing that can be."""
    made = SurveyReport(dt.datetime(2026, 11, 1, tzinfo=dt.UTC), "v1", Mode.AUDIT)
    made.gaps = ["it was interrupted", "not everything is known about 1 image"]
    made.notes = ["the list of Pods was restarted, so its Pods are of several moments"]
    made.left_out.update({Finding.EXEMPT: 1, Finding.UNMANAGED: 2, Finding.INVALID: 3, Finding.TRUSTED: 4})
    made.omitted, made.static, made.excluded = 5, 6, 1
    made.excluded_namespaces = ("kube-system", "ops")
    return made


def test_chinese_survey_has_no_english_sentences() -> None:
    assert describe_coverage(report(), "zh") == [
        "盘点结果不完整：执行被中断。",
        "盘点结果不完整：有 1 个镜像的部分情况无法确定。",
        "已豁免，未计入：1 个镜像。",
        "镜像仓库服务未配置，未计入：2 个镜像。",
        "策略不经查询即拒绝，未计入：3 个镜像。",
        "镜像过多，未计入：5 个镜像。",
        "静态 Pod，未计入：6 个 Pod。",
        "位于排除的命名空间（kube-system、ops），未计入：1 个 Pod。",
        "Pod 列表曾重新读取，因此其中的 Pod 不是同一时刻的状态。",
        "没有发现 Pod。",
    ]


def test_both_languages_have_same_numbers_in_same_order() -> None:
    lines = zip(describe_coverage(report(), "zh"), describe_coverage(report(), "en"), strict=True)
    for ours, theirs in lines:
        assert re.findall(r"\d+", ours) == re.findall(r"\d+", theirs)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_long_list_of_namespaces_ends_with_number_of_others(language: str) -> None:
    names = [f"n{number}" for number in range(MAX_NAMED + 3)]
    text = name_namespaces(names, "zh" if language == "zh" else "en")
    assert text.endswith({"en": "n19 and 3 more", "zh": "n19 等，另有 3 个"}[language])
    assert name_namespaces(["a"], "zh") == name_namespaces(["a"], "en") == "a"


def test_texts_have_same_keys_and_placeholders() -> None:
    assert TEXTS["en"].keys() == TEXTS["zh"].keys()
    for key, english in TEXTS["en"].items():
        assert PLACEHOLDER.findall(english) == PLACEHOLDER.findall(TEXTS["zh"][key])


@pytest.mark.parametrize("english", GAPS)
def test_each_gap_is_translated_with_its_values(english: str) -> None:
    """The first pattern that matches is its own."""
    values = [f"VALUE{number}" for number in range(english.count("{}"))]
    assert translate(english.format(*values)) == GAPS[english].format(*values)


def test_values_of_a_gap_are_translated() -> None:
    assert translate(
        "It is not known which namespaces are not sent to the webhook: you need the verb list on namespaces "
        "(forbidden {}). The defaults of the chart are left out instead; --exclude-namespace names others"
    ) == (
        "无法得知哪些命名空间的请求不发送到 Webhook：您需要 namespaces 的 list 权限（forbidden {}）。"
        "因此按 Chart 的默认值排除；如需排除其他命名空间，请使用 --exclude-namespace"
    )


def test_unknown_sentence_stays_as_it_is() -> None:
    assert translate("connection refused: {x}") == "connection refused: {x}"
