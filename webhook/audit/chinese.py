"""Chinese text of the HTML pages, by its English text. The messages of images are translated elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from webhook.audit.coverage_texts import name_namespaces, translate
from webhook.audit.report import AuditReport, Drift
from webhook.audit.survey_texts import recommendation

HEADINGS: Final[Mapping[str, str]] = {
    "Image trust audit": "镜像信任审计",
    "Image trust: evidence": "镜像信任：审计证据",
    "Image trust evidence": "镜像信任审计证据",
    "(PARTIAL)": "（不完整）",
    "(partial)": "（不完整）",
    "to": "至",
    "policy": "策略",
    "mode": "模式",
    "Pods": "Pod 数",
    "Would be denied": "将被拒绝",
    "Namespaces": "命名空间数",
    "Distinct images": "不同的镜像数",
    "Looked up in SWR": "已向 SWR 查询",
    "Uses of images by finding": "按结果统计的镜像使用次数",
    "Pods that enforcement would deny, by namespace": "强制执行后将被拒绝的 Pod，按命名空间统计",
    "of": "/",
    "and {} more namespaces": "另有 {} 个命名空间",
    "and {} more rows: see the CSV or JSON report": "另有 {} 行，请查看 CSV 或 JSON 报告",
    "and {} more rows: see the CSV report": "另有 {} 行，请查看 CSV 报告",
    "Evidence of the images, by registry": "各镜像仓库服务中镜像的可信依据",
    "Distinct images that run, and how many of them each evidence would deny. Signatures are counted where "
    "keys are configured.": "正在运行的不同镜像，以及每种可信依据将拒绝的数量。仅在配置了密钥时统计签名。",
    "Registry": "镜像仓库服务",
    "Evidence": "可信依据",
    "Exist": "存在",
    "Marked": "已标记",
    "Signed": "已签名",
    "Not known": "未知",
    "{} denies": "{} 拒绝",
    "Signatures of the images": "镜像的签名",
    "Signed by": "签名密钥",
    "Format": "格式",
    "Why not": "未通过的原因",
    "Images that enforcement would deny or warn of, and why": "强制执行后将被拒绝或警告的镜像及其原因",
    "Namespace": "命名空间",
    "Workload": "工作负载",
    "Image": "镜像",
    "Images": "镜像",
    "Finding": "结果",
    "Why, and what to do": "原因及处理方法",
    "e.g. Pod": "例如 Pod",
    "Nodes that run another image than the tag names now": "节点运行的镜像与镜像版本当前指向的镜像不同",
    "The tag was pushed again after the Pod was started. SWR's mark of the tag does not apply "
    "to the running image; restart the Pod, or pin its digest.": "Pod 启动后，该镜像版本被重新推送。"
    "SWR 中的可信标记不代表正在运行的镜像；请重启 Pod，或启用写入摘要。",
    "Nodes that report another image than the Pod pins": "节点报告的镜像与 Pod 所指定的镜像不同",
    "Only the pinned image was evaluated. Find out whether the running digest is the same image; "
    "if it is not, delete the Pod and check the node.": "经过判定的只是所指定的镜像。"
    "请查明正在运行的摘要是否属于同一镜像；如果不是，请删除该 Pod 并检查节点。",
    "Pinned images whose tag names another image now": "镜像已指定摘要，而镜像版本现指向其他镜像",
    "These Pods run what they pin, and the tag was pushed again since. Restart the workload to run the new "
    "image.": "这些 Pod 运行的正是所指定的镜像，此后该镜像版本被重新推送。如需运行新镜像，请重启工作负载。",
    "Runs": "正在运行",
    "SWR holds": "SWR 中的镜像",
    "Images that run only by an exemption that ends within 30 days": "仅凭 30 天内到期的豁免运行的镜像",
    "Ends": "到期时间",
    "Exemption": "豁免",
    "Finding after the end": "到期后的结果",
    "Object": "对象",
    "User": "用户",
    "Times": "次数",
    "First and last": "首次与末次",
    "Decisions from {} to {};": "准入决定的时间范围：{} 至 {}；",
    "made": "生成时间",
    "This report is PARTIAL: {}.": "本报告不完整：{}。",
    "{} line(s) of the log cannot be read": "日志中有 {} 行无法读取",
    "{} record(s) are counted but not listed.": "{} 条记录已计数但未列出。",
    "Decisions": "准入决定",
    "Denied": "已拒绝",
    "Break-glass": "紧急放行",
    "Dry runs, not counted": "试运行（未计入）",
    "Break-glass: who, when and why": "紧急放行：用户、时间与原因",
    "When": "时间",
    "Reason given": "所填原因",
    "Break-glass was not used.": "没有使用紧急放行。",
    "Exempted, and by which exemption": "已豁免的镜像及所用的豁免",
    "Nothing was exempted.": "没有豁免任何镜像。",
    "Nothing was denied.": "没有拒绝任何镜像。",
    "Admitted with a warning or only recorded": "已放行，仅警告或记录",
}
"""Every text of the templates. ``{}`` is replaced by a value."""


_DRIFT_REMARKS: Final[Mapping[Drift, str]] = {
    Drift.OTHER_THAN_PINNED: "运行的不是所指定的镜像：节点报告，{} 个 Pod 运行的摘要与 Pod 所指定的摘要不同。"
    "正在运行的镜像可能从未判定过；请查明这两个摘要是否属于同一镜像。",
    Drift.MOVED: "{} 个 Pod 运行的镜像与其镜像版本当前指向的镜像不同。SWR 中的可信标记不代表正在运行的镜像。",
    Drift.SUPERSEDED: "{} 个 Pod 指定的镜像已不再是其镜像版本在 SWR 中所指的镜像。"
    "它们运行的正是所指定的镜像；如需运行新镜像，请重启工作负载。",
}


def verdict(report: AuditReport) -> str:
    """Return ``report.verdict`` in Chinese, without a full stop."""
    if not report.pods:
        return "没有发现 Pod，无法得出结论"
    seen = f"已发现的 {report.pods} 个 Pod 中" if report.is_partial else f"{report.pods} 个 Pod 中"
    if not report.refused:
        return f"如果现在强制执行，{seen}没有 Pod 会被拒绝"
    spaces = sum(1 for row in report.namespaces if row.refused)
    return f"如果现在强制执行，{seen}将有 {report.refused} 个被拒绝，涉及 {spaces} 个命名空间"


def remarks(report: AuditReport) -> list[str]:
    """Return ``report.remarks`` in Chinese, sentence by sentence in the same order."""
    lines = [f"本报告不完整：{translate(gap)}。" for gap in report.gaps]
    lines += [
        f"没有任何镜像可信：{registry} 返回了 {images} 个镜像的结果，均未标记为可信。"
        "SWR 未说明可信标记由什么设置；强制执行之前，请确认您的账号如何设置该标记，"
        "否则来自该仓库地址的镜像都会被拒绝。运行 swr-trust survey 可查看能否改用签名作为可信依据。"
        for registry, images in report.never_trusted
    ]
    lines += [
        f"没有任何镜像已签名：{registry} 返回了 {images} 个镜像的结果，均未由足够的已配置密钥签名。"
        "强制执行之前，请为镜像签名并检查 signatures.keys，否则来自该仓库地址的镜像都会被拒绝。"
        for registry, images in report.never_signed
    ]
    lines += _drift_remarks(report, Drift.OTHER_THAN_PINNED)
    if report.unknown:
        lines.append(
            f"{report.unknown} 个 Pod 将被拒绝，仅仅是因为无法向 SWR 查询；"
            "请运行 swr-trust doctor，然后重新审计。"
        )
    lines += [f"{images} 个镜像无法向 SWR 查询：{detail}。" for detail, images in report.failures]
    lines += [
        f"{one.label} 的可信依据：{recommendation(one, report.mode, 'zh')}" for one in report.recommended
    ]
    if report.refused != report.enforced:
        lines.append(f"按策略当前的模式（{report.mode}），将有 {report.enforced} 个 Pod 被拒绝。")
    lines += _drift_remarks(report, Drift.MOVED, Drift.SUPERSEDED)
    if report.endings:
        pods = sum(row.pods for row in report.endings)
        lines.append(f"{pods} 个 Pod 仅凭 30 天内到期的豁免运行。")
    if report.static:
        lines.append(f"{report.static} 个 Pod 是静态 Pod，由节点直接运行，不经过准入控制。")
    if report.excluded:
        names = name_namespaces(report.excluded_namespaces, "zh")
        lines.append(f"未计入排除的命名空间（{names}）中的 {report.excluded} 个 Pod。")
    if report.omitted:
        lines.append(f"另有 {report.omitted} 行已计数但未列出。")
    return [*lines, *(f"{translate(note)}。" for note in report.notes)]


def _drift_remarks(report: AuditReport, *reasons: Drift) -> list[str]:
    numbers = {reason: report.drifted_pods(reason) for reason in reasons}
    return [_DRIFT_REMARKS[reason].format(pods) for reason, pods in numbers.items() if pods]
