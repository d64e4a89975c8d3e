"""The words of every message, in English and in Chinese.

``what`` and ``advice`` are keyed by finding, or by ``finding/reason``; a test demands that both
languages hold the same keys and the same placeholders. ``what`` is a clause that follows an
image's name, ``advice`` a whole sentence for the developer whose Pod was refused, and
``consequences`` are clauses that say what follows where a request is admitted with a warning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Catalogue:
    """One language."""

    denied: str
    warned: str
    colon: str
    between: str
    stop: str
    space: str
    more: str
    consequences: Mapping[str, str]
    what: Mapping[str, str]
    advice: Mapping[str, str]
    notes: Mapping[str, str]


_ENGLISH: Final = Catalogue(
    denied="denied by image trust policy: ",
    warned="image trust policy: ",
    colon=": ",
    between="; ",
    stop=".",
    space=" ",
    more="and {count} more; swr-trust review lists them all",
    consequences={
        "once-enforced": "would be refused once enforced",
        "pods-refused": "its Pods will be refused",
        "pods-once-enforced": "its Pods would be refused once enforced",
        "only-warned": "admitted, because the policy only warns about it",
        "break-glass": "admitted only by break-glass",
    },
    what={
        "trusted": "is trusted",
        "exempt": "is exempt",
        "untrusted": "SWR does not mark this tag as trusted",
        "untrusted/implied": "without a tag it is latest, which SWR does not mark as trusted",
        "untrusted/digest": "not every tag in SWR that holds this digest is trusted",
        "missing": "tag does not exist in SWR",
        "missing/implied": "without a tag it is latest, which does not exist in SWR",
        "missing/digest": "no tag in SWR holds this digest",
        "digest-mismatch": "the pinned digest is not the one that SWR holds under this tag",
        "invalid": "is not a valid image reference",
        "invalid/empty": "the image is empty",
        "invalid/uppercase": "an image name must be lower case",
        "invalid/bad-tag": "the tag is not valid",
        "invalid/bad-digest": "the digest is not sha256: and 64 hexadecimal digits",
        "invalid/digest-algorithm": "the digest is not a sha256 one",
        "invalid/image-id": "is the ID of an image on a node, not a name",
        "invalid/scheme": "the image starts with a scheme such as https://",
        "invalid/whitespace": "the image holds white space",
        "invalid/control-character": "the image holds a control character",
        "invalid/non-ascii": "the image holds a character that is not ASCII",
        "invalid/too-long": "the image name is too long",
        "invalid/bad-host": "the registry host is not valid",
        "invalid/bad-path": "the image name is not valid",
        "invalid/organization": "SWR allows no such organisation name",
        "invalid/no-organization": "names no organisation of SWR",
        "invalid/repository": "SWR allows no such repository name",
        "invalid/placeholder": "the image is a placeholder and is judged when the Pod is created",
        "invalid/digest-only": "names a digest without a tag, and SWR keeps trust per tag",
        "invalid/digest-required": "this namespace demands images that are pinned to a digest",
        "invalid/pull-policy": "this namespace demands imagePullPolicy Always",
        "unmanaged": 'images from registry "{host}" are not allowed in this cluster',
        "unmanaged/organization": 'organisation "{organization}" of "{host}" is not one of this cluster\'s',
        "unmanaged/enterprise": "SWR Enterprise Edition has no trust mark, so its images cannot be judged",
        "unknown": "SWR could not be asked whether it is trusted",
        "unknown/timeout": "SWR did not say in time whether it is trusted",
        "unknown/timeout/local": "this webhook was too busy to ask SWR in time whether it is trusted",
        "unknown/timeout/image": "SWR did not say in time whether it is trusted, but answers about others",
        "unknown/throttled": "SWR is rate-limiting requests, so the trust of this image is not known",
        "unknown/throttled/local": "this webhook has too many images to ask SWR about",
        "unknown/unavailable": "SWR cannot be reached to say whether it is trusted",
        "unknown/unavailable/local": "this webhook failed to ask SWR whether it is trusted",
        "unknown/unavailable/image": "SWR fails when it is asked about this image",
        "unknown/unauthorized": "SWR does not accept the cluster's credential, so trust is not known",
        "unknown/forbidden": "this cluster may not read the image in SWR; it may belong to another account",
        "unknown/malformed": "SWR's answer about it cannot be understood",
    },
    advice={
        "trusted": "",
        "exempt": "",
        "untrusted": "Mark this tag as trusted in SWR, or use a tag that already is.",
        "untrusted/implied": "Write name:tag with a tag that is trusted.",
        "untrusted/digest": "Write name:tag@digest with a tag that is trusted.",
        "missing": "Push the image to SWR, or correct its name and tag.",
        "missing/implied": "Write name:tag with a tag that exists.",
        "missing/digest": "Push the image to SWR, or correct its digest.",
        "digest-mismatch": "Pin the digest that SWR shows for the tag, "
        "or write the tag that holds this digest.",
        "invalid": "Write the image as {home}/organisation/name:tag.",
        "invalid/empty": "Write the image as {home}/organisation/name:tag.",
        "invalid/uppercase": "Write the image name in lower case.",
        "invalid/bad-tag": "Use up to 128 letters, digits, dots, hyphens and underscores.",
        "invalid/bad-digest": "Copy the whole digest from SWR.",
        "invalid/digest-algorithm": "Copy the sha256 digest from SWR.",
        "invalid/image-id": "Write the image as {home}/organisation/name:tag.",
        "invalid/scheme": "Write the image as {home}/organisation/name:tag.",
        "invalid/whitespace": "Remove the white space.",
        "invalid/control-character": "Write the image as {home}/organisation/name:tag.",
        "invalid/non-ascii": "Write the image as {home}/organisation/name:tag.",
        "invalid/too-long": "Use a shorter image name.",
        "invalid/bad-host": "Write the image as {home}/organisation/name:tag.",
        "invalid/bad-path": "Write the image as {home}/organisation/name:tag.",
        "invalid/organization": "Write the image as {home}/organisation/name:tag, with its organisation.",
        "invalid/no-organization": "Write the image as {home}/organisation/name:tag, with its organisation.",
        "invalid/repository": "Write the image as {home}/organisation/name:tag, with its name in SWR.",
        "invalid/placeholder": "Nothing needs to be done if something fills it in before the Pod is created.",
        "invalid/digest-only": "Write name:tag@sha256:..., with the digest that SWR shows for the tag.",
        "invalid/digest-required": "Write name:tag@sha256:..., with the digest that SWR shows for the tag.",
        "invalid/pull-policy": "Set imagePullPolicy: Always.",
        "unmanaged": "Push the image to {home} and use it from there.",
        "unmanaged/organization": "Correct it, or ask the people who run this cluster to add it.",
        "unmanaged/enterprise": "Push the image to {home} and use it from there.",
        "unknown": "Try again in a minute. If the problem persists, contact your cluster administrators.",
        "unknown/timeout": "Try again in a minute. If the problem persists, contact your cluster "
        "administrators.",
        "unknown/timeout/local": "Try again in a minute. If the problem persists, contact your cluster "
        "administrators.",
        "unknown/timeout/image": "Try again in a minute. If the image is named by a digest alone, write "
        "name:tag@digest.",
        "unknown/throttled": "Try again in a minute. If the problem persists, contact your cluster "
        "administrators.",
        "unknown/throttled/local": "Try again in a minute. If the problem persists, contact your cluster "
        "administrators.",
        "unknown/unavailable": "Try again in a minute. If the problem persists, contact your cluster "
        "administrators.",
        "unknown/unavailable/local": "Try again in a minute. If the problem persists, contact your cluster "
        "administrators.",
        "unknown/unavailable/image": "Try again in a minute, or use another tag, written name:tag@digest.",
        "unknown/unauthorized": "Tell the people who run this cluster.",
        "unknown/forbidden": "Use an image of your own account, or ask the people who run this cluster.",
        "unknown/malformed": "Tell the people who run this cluster.",
    },
    notes={
        "once-enforced": "This would be refused once enforced.",
        "pods-refused": "Its Pods may be refused.",
        "unknown-kind": "{resource} is not a kind this webhook can read; "
        "its rules must not name it. Tell the people who run this cluster.",
        "unreadable": "the object cannot be judged: {detail}. Tell the people who run this cluster.",
        "no-pod-spec": "it has no Pod spec",
        "too-many-images": "it has {count} images, and at most {limit} are judged at a time",
        "busy": "this webhook is reading too many large objects at this moment. "
        "Try again in a minute. If the problem persists, contact your cluster administrators.",
        "crash": "the webhook failed and admits nothing it has not judged. "
        "Try again; if it stays, tell the people who run this cluster.",
        "break-glass-ignored": 'The annotation "{annotation}" is ignored: user "{user}" may not use it.',
        "break-glass-empty": 'The annotation "{annotation}" is ignored: its value must be the reason.',
        "break-glass-used": 'admitted by the break-glass annotation "{annotation}"; '
        "this use has been recorded",
        "break-glass-unneeded": 'the break-glass annotation "{annotation}" was not needed; '
        "this use has been recorded",
    },
)

_CHINESE: Final = Catalogue(
    denied="镜像信任策略拒绝：",
    warned="镜像信任策略：",
    colon="：",
    between="；",
    stop="。",
    space="",
    more="以及另外 {count} 个镜像；运行 swr-trust review 可查看全部",
    consequences={
        "once-enforced": "强制执行后将被拒绝",
        "pods-refused": "其 Pod 将被拒绝",
        "pods-once-enforced": "强制执行后，其 Pod 将被拒绝",
        "only-warned": "已放行，策略对此仅作警告",
        "break-glass": "仅凭紧急放行而准入",
    },
    what={
        "trusted": "可信",
        "exempt": "已豁免",
        "untrusted": "SWR 未将该镜像版本标记为可信",
        "untrusted/implied": "未写镜像版本即为 latest，而 SWR 未将其标记为可信",
        "untrusted/digest": "SWR 中持有该摘要的镜像版本并非全部可信",
        "missing": "SWR 中不存在该镜像版本",
        "missing/implied": "未写镜像版本即为 latest，而 SWR 中不存在该镜像版本",
        "missing/digest": "SWR 中没有镜像版本持有该摘要",
        "digest-mismatch": "所固定的摘要与 SWR 中该镜像版本的摘要不一致",
        "invalid": "不是有效的镜像引用",
        "invalid/empty": "镜像为空",
        "invalid/uppercase": "镜像名称必须为小写",
        "invalid/bad-tag": "镜像版本无效",
        "invalid/bad-digest": "摘要不是 sha256: 加 64 位十六进制数",
        "invalid/digest-algorithm": "摘要不是 sha256 摘要",
        "invalid/image-id": "是节点上镜像的 ID，而不是镜像名称",
        "invalid/scheme": "镜像以 https:// 之类的协议开头",
        "invalid/whitespace": "镜像中含有空白字符",
        "invalid/control-character": "镜像中含有控制字符",
        "invalid/non-ascii": "镜像中含有非 ASCII 字符",
        "invalid/too-long": "镜像名称过长",
        "invalid/bad-host": "仓库地址无效",
        "invalid/bad-path": "镜像名称无效",
        "invalid/organization": "SWR 不允许使用这样的组织名称",
        "invalid/no-organization": "没有写出 SWR 的组织",
        "invalid/repository": "SWR 不允许使用这样的镜像仓库名称",
        "invalid/placeholder": "该镜像只是占位符，将在创建 Pod 时再判断",
        "invalid/digest-only": "只写了摘要而没有镜像版本，而 SWR 按镜像版本记录信任",
        "invalid/digest-required": "该命名空间要求镜像固定到摘要",
        "invalid/pull-policy": "该命名空间要求 imagePullPolicy 为 Always",
        "unmanaged": '本集群不允许使用来自仓库地址 "{host}" 的镜像',
        "unmanaged/organization": '仓库地址 "{host}" 的组织 "{organization}" 不属于本集群',
        "unmanaged/enterprise": "SWR 企业版没有信任标记，无法判断其镜像",
        "unknown": "无法向 SWR 查询其是否可信",
        "unknown/timeout": "SWR 未能及时答复其是否可信",
        "unknown/timeout/local": "本 Webhook 当前繁忙，未能及时向 SWR 查询其是否可信",
        "unknown/timeout/image": "SWR 未能及时答复其是否可信，而对其他镜像有答复",
        "unknown/throttled": "SWR 正在限流，暂时无法得知该镜像是否可信",
        "unknown/throttled/local": "本 Webhook 等待向 SWR 查询的镜像过多，暂时无法得知其是否可信",
        "unknown/unavailable": "无法连接 SWR，不知其是否可信",
        "unknown/unavailable/local": "本 Webhook 向 SWR 查询其是否可信时发生故障",
        "unknown/unavailable/image": "SWR 在查询该镜像时出错，不知其是否可信",
        "unknown/unauthorized": "SWR 不接受本集群的凭证，不知其是否可信",
        "unknown/forbidden": "本集群无权在 SWR 中读取该镜像，它可能属于其他账号",
        "unknown/malformed": "无法理解 SWR 关于它的答复",
    },
    advice={
        "trusted": "",
        "exempt": "",
        "untrusted": "请在 SWR 中将该镜像版本标记为可信，或改用可信的镜像版本。",
        "untrusted/implied": "请写成 name:tag，并使用可信的镜像版本。",
        "untrusted/digest": "请写成 name:tag@digest，并使用可信的镜像版本。",
        "missing": "请将该镜像推送到 SWR，或更正其名称和镜像版本。",
        "missing/implied": "请写成 name:tag，并使用已存在的镜像版本。",
        "missing/digest": "请将该镜像推送到 SWR，或更正其摘要。",
        "digest-mismatch": "请固定 SWR 中该镜像版本的摘要，或使用持有该摘要的镜像版本。",
        "invalid": "请将镜像写成 {home}/组织/名称:镜像版本。",
        "invalid/empty": "请将镜像写成 {home}/组织/名称:镜像版本。",
        "invalid/uppercase": "请用小写书写镜像名称。",
        "invalid/bad-tag": "镜像版本最多 128 个字符，只能使用字母、数字、点、连字符和下划线。",
        "invalid/bad-digest": "请从 SWR 完整复制摘要。",
        "invalid/digest-algorithm": "请从 SWR 复制 sha256 摘要。",
        "invalid/image-id": "请将镜像写成 {home}/组织/名称:镜像版本。",
        "invalid/scheme": "请将镜像写成 {home}/组织/名称:镜像版本。",
        "invalid/whitespace": "请删除空白字符。",
        "invalid/control-character": "请将镜像写成 {home}/组织/名称:镜像版本。",
        "invalid/non-ascii": "请将镜像写成 {home}/组织/名称:镜像版本。",
        "invalid/too-long": "请使用更短的镜像名称。",
        "invalid/bad-host": "请将镜像写成 {home}/组织/名称:镜像版本。",
        "invalid/bad-path": "请将镜像写成 {home}/组织/名称:镜像版本。",
        "invalid/organization": "请将镜像写成 {home}/组织/名称:镜像版本，并使用 SWR 中的组织名称。",
        "invalid/no-organization": "请将镜像写成 {home}/组织/名称:镜像版本，并写出组织。",
        "invalid/repository": "请将镜像写成 {home}/组织/名称:镜像版本，并使用 SWR 中的镜像名称。",
        "invalid/placeholder": "如果创建 Pod 之前会填入真实镜像，则无需处理。",
        "invalid/digest-only": "请写成 name:tag@sha256:...，摘要以 SWR 中该镜像版本显示的为准。",
        "invalid/digest-required": "请写成 name:tag@sha256:...，摘要以 SWR 中该镜像版本显示的为准。",
        "invalid/pull-policy": "请设置 imagePullPolicy: Always。",
        "unmanaged": "请将镜像推送到 {home} 并从那里使用。",
        "unmanaged/organization": "请更正组织名称，或联系集群管理员添加该组织。",
        "unmanaged/enterprise": "请将镜像推送到 {home} 并从那里使用。",
        "unknown": "请稍后重试；如仍失败，请联系集群管理员。",
        "unknown/timeout": "请稍后重试；如仍失败，请联系集群管理员。",
        "unknown/timeout/local": "请稍后重试；如仍失败，请联系集群管理员。",
        "unknown/timeout/image": "请稍后重试；如仅以摘要引用该镜像，请写成 name:tag@digest。",
        "unknown/throttled": "请稍后重试；如仍失败，请联系集群管理员。",
        "unknown/throttled/local": "请稍后重试；如仍失败，请联系集群管理员。",
        "unknown/unavailable": "请稍后重试；如仍失败，请联系集群管理员。",
        "unknown/unavailable/local": "请稍后重试；如仍失败，请联系集群管理员。",
        "unknown/unavailable/image": "请稍后重试，或改用其他镜像版本，写成 name:tag@digest。",
        "unknown/unauthorized": "请联系集群管理员。",
        "unknown/forbidden": "请使用自己账号的镜像，或联系集群管理员。",
        "unknown/malformed": "请联系集群管理员。",
    },
    notes={
        "once-enforced": "强制执行后将被拒绝。",
        "pods-refused": "其 Pod 可能被拒绝。",
        "unknown-kind": "本 Webhook 无法读取 {resource}，其规则不应包含它。请联系集群管理员。",
        "unreadable": "无法判断该对象：{detail}。请联系集群管理员。",
        "no-pod-spec": "其中没有 Pod spec",
        "too-many-images": "其中有 {count} 个镜像，而一次最多判断 {limit} 个",
        "busy": "本 Webhook 正在读取过多的大型对象。请稍后重试；如仍失败，请联系集群管理员。",
        "crash": "Webhook 发生故障，未经判断的请求一律不予放行。请重试；如仍失败，请联系集群管理员。",
        "break-glass-ignored": '注解 "{annotation}" 被忽略：用户 "{user}" 无权使用。',
        "break-glass-empty": '注解 "{annotation}" 被忽略：其值必须写明原因。',
        "break-glass-used": '已凭紧急放行注解 "{annotation}" 放行，并已记录',
        "break-glass-unneeded": '无需使用紧急放行注解 "{annotation}"，但已记录',
    },
)

CATALOGUES: Final[Mapping[Literal["en", "zh"], Catalogue]] = {"en": _ENGLISH, "zh": _CHINESE}

DENIALS: Final = tuple(catalogue.denied.rstrip(":： ") for catalogue in CATALOGUES.values())
"""How a denial is known in somebody else's text, also in that of an older version."""
