"""The texts of all messages, in English and in Chinese.

``what`` and ``advice`` are keyed by finding or by ``finding/reason``; a test requires the same keys and
placeholders in both languages. ``what`` is the problem, a clause that follows an image's name. ``advice`` is
the remedy, a sentence. ``consequences`` are clauses about the consequence of a warning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The texts of one language."""

    denied: str
    warned: str
    colon: str
    comma: str
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
    comma=", ",
    between="; ",
    stop=".",
    space=" ",
    more="and {count} more; swr-trust review lists them all",
    consequences={
        "once-enforced": "would be denied once enforced",
        "pods-denied": "its Pods will be denied",
        "pods-once-enforced": "its Pods would be denied once enforced",
        "only-warned": "admitted because the policy only warns about it",
        "break-glass": "admitted only by break-glass",
    },
    what={
        "trusted": "is trusted",
        "exempt": "is exempt",
        "untrusted": "SWR does not mark this tag as trusted",
        "untrusted/implied": "the tag defaults to latest, which SWR does not mark as trusted",
        "untrusted/digest": "not every tag with this digest in SWR is trusted",
        "untrusted/unsigned": "the image is not signed",
        "untrusted/bad-signature": "none of its signatures counts in this cluster",
        "untrusted/threshold": "the image is signed by {signers} only",
        "untrusted/annotations": "its signature does not have the annotations {annotations}",
        "untrusted/no-keys": "too few keys count in this cluster at the moment, so no image is trusted",
        "missing": "tag does not exist in SWR",
        "missing/implied": "the tag defaults to latest, which does not exist in SWR",
        "missing/digest": "no tag in SWR has this digest",
        "digest-mismatch": "the pinned digest is not the digest of this tag in SWR",
        "digest-mismatch/pinning": "the pinned digest is not the digest of this tag in SWR",
        "invalid": "is not a valid image reference",
        "invalid/empty": "the image is empty",
        "invalid/uppercase": "an image name must be lower case",
        "invalid/bad-tag": "the tag is not valid",
        "invalid/bad-digest": "the digest is not sha256: and 64 hexadecimal digits",
        "invalid/digest-algorithm": "the digest is not a sha256 digest",
        "invalid/image-id": "is the ID of an image on a node, not a name",
        "invalid/scheme": "the image starts with a scheme such as https://",
        "invalid/whitespace": "the image contains white space",
        "invalid/control-character": "the image contains a control character",
        "invalid/non-ascii": "the image contains a character that is not ASCII",
        "invalid/too-long": "the image name is too long",
        "invalid/bad-host": "the registry host is not valid",
        "invalid/bad-path": "the image name is not valid",
        "invalid/organization": "SWR does not allow such an organization name",
        "invalid/no-organization": "the image has no SWR organization",
        "invalid/repository": "SWR does not allow such a repository name",
        "invalid/placeholder": "the image is a placeholder; it is evaluated when the Pod is created",
        "invalid/digest-only": "the image has no tag, and SWR is queried by tag",
        "invalid/digest-required": "this namespace requires images pinned to a digest",
        "invalid/not-pinned": "this namespace requires images pinned to a digest, and no webhook pinned it",
        "invalid/pull-policy": "this namespace requires imagePullPolicy Always",
        "unmanaged": 'images from registry "{host}" are not allowed in this cluster',
        "unmanaged/organization": 'organization "{organization}" of "{host}" is not one of this cluster\'s',
        "unmanaged/enterprise": "this registry of SWR Enterprise is not configured, so its images cannot "
        "be evaluated",
        "unknown": "SWR could not be queried, so trust is not known",
        "unknown/timeout": "SWR did not answer in time, so trust is not known",
        "unknown/timeout/local": "the webhook was too busy to query SWR in time, so trust is not known",
        "unknown/timeout/image": "SWR did not answer in time for this image, but does for other images",
        "unknown/throttled": "SWR is rate-limiting requests, so the trust of this image is not known",
        "unknown/throttled/local": "the webhook has too many images to look up, so trust is not known",
        "unknown/unavailable": "SWR cannot be reached, so trust is not known",
        "unknown/unavailable/local": "the webhook failed to query SWR, so trust is not known",
        "unknown/unavailable/image": "SWR fails for this image, so its trust is not known",
        "unknown/unauthorized": "the SWR credential or registry login is missing or not accepted, "
        "so trust is not known",
        "unknown/forbidden": "this cluster may not read the image in SWR; it may belong to another account",
        "unknown/malformed": "SWR's response cannot be parsed, so trust is not known",
    },
    advice={
        "trusted": "",
        "exempt": "",
        "untrusted": "Mark this tag as trusted in SWR, or use a tag that already is.",
        "untrusted/implied": "Write name:tag with a tag that is trusted.",
        "untrusted/digest": "Write name:tag@digest with a tag that is trusted.",
        "untrusted/unsigned": "Sign it with {needed}, then try again.",
        "untrusted/bad-signature": "Sign it with {needed}, then try again.",
        "untrusted/threshold": "It needs signatures of {needed}. Add the missing ones, then try again.",
        "untrusted/annotations": "Sign it with {needed} and these annotations, then try again.",
        "untrusted/no-keys": "Contact your cluster administrators.",
        "missing": "Push the image to SWR, or correct its name and tag.",
        "missing/implied": "Write name:tag with a tag that exists.",
        "missing/digest": "Push the image to SWR, or correct its digest.",
        "digest-mismatch": "Pin the digest that SWR shows for the tag, or use the tag with this digest.",
        "digest-mismatch/pinning": "If you wrote the tag alone, it has just been moved: try again. "
        "Otherwise pin the digest that SWR shows for the tag.",
        "invalid": "Write the image as {home}/organization/name:tag.",
        "invalid/empty": "Write the image as {home}/organization/name:tag.",
        "invalid/uppercase": "Write the image name in lower case.",
        "invalid/bad-tag": "Use up to 128 letters, digits, dots, hyphens and underscores.",
        "invalid/bad-digest": "Copy the whole digest from SWR.",
        "invalid/digest-algorithm": "Copy the sha256 digest from SWR.",
        "invalid/image-id": "Write the image as {home}/organization/name:tag.",
        "invalid/scheme": "Write the image as {home}/organization/name:tag.",
        "invalid/whitespace": "Remove the white space.",
        "invalid/control-character": "Write the image as {home}/organization/name:tag.",
        "invalid/non-ascii": "Write the image as {home}/organization/name:tag.",
        "invalid/too-long": "Use a shorter image name.",
        "invalid/bad-host": "Write the image as {home}/organization/name:tag.",
        "invalid/bad-path": "Write the image as {home}/organization/name:tag.",
        "invalid/organization": "Write the image as {home}/organization/name:tag, with its organization.",
        "invalid/no-organization": "Write the image as {home}/organization/name:tag, with its organization.",
        "invalid/repository": "Write the image as {home}/organization/name:tag, with its name in SWR.",
        "invalid/placeholder": "No action is needed if a controller or webhook replaces it "
        "before the Pod is created.",
        "invalid/digest-only": "Write name:tag@sha256:..., with the digest that SWR shows for the tag.",
        "invalid/digest-required": "Write name:tag@sha256:..., with the digest that SWR shows for the tag. "
        "With pinDigests, the webhook writes it.",
        "invalid/not-pinned": "Try again. If the problem persists, contact your cluster administrators.",
        "invalid/pull-policy": "Set imagePullPolicy: Always.",
        "unmanaged": "Push the image to {home} and use it from there.",
        "unmanaged/organization": "Correct the organization, or ask your cluster administrators to add it.",
        "unmanaged/enterprise": "Push the image to {home} and use it from there, or ask your cluster "
        "administrators to add a registry with edition: enterprise.",
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
        "unknown/unauthorized": "Contact your cluster administrators.",
        "unknown/forbidden": "Use an image of your own account, or contact your cluster administrators.",
        "unknown/malformed": "Contact your cluster administrators.",
    },
    notes={
        "once-enforced": "This would be denied once enforced.",
        "pods-denied": "Its Pods may be denied.",
        "pods-pinned": "its Pods get {digest}",
        "signed-by": "signed by {keys}",
        "unknown-kind": "the webhook cannot read {resource}; its rules must not match this kind. "
        "Contact your cluster administrators.",
        "unreadable": "the object cannot be evaluated: {detail}. Contact your cluster administrators.",
        "no-pod-spec": "it has no Pod spec",
        "too-many-images": "it has {count} images, and the limit is {limit}",
        "busy": "the webhook is reading too many large objects at the moment. "
        "Try again in a minute. If the problem persists, contact your cluster administrators.",
        "crash": "the webhook failed, and a request that it cannot evaluate is denied. "
        "Try again in a minute. If the problem persists, contact your cluster administrators.",
        "break-glass-ignored": 'The annotation "{annotation}" is ignored: user "{user}" may not use it.',
        "break-glass-empty": 'The annotation "{annotation}" is ignored: its value must be the reason.',
        "break-glass-used": 'admitted by the break-glass annotation "{annotation}"; '
        "this use has been recorded",
        "break-glass-unneeded": 'the break-glass annotation "{annotation}" was not needed; '
        "this use has been recorded",
        "one-key": "the key {keys}",
        "any-key": "one of the keys {keys}",
        "several-keys": "{threshold} of the keys {keys}",
        "more-keys": "{keys} and {count} more",
    },
)

_CHINESE: Final = Catalogue(
    denied="镜像信任策略拒绝：",
    warned="镜像信任策略：",
    colon="：",
    comma="、",
    between="；",
    stop="。",
    space="",
    more="以及另外 {count} 个镜像；运行 swr-trust review 可查看全部",
    consequences={
        "once-enforced": "强制执行后将被拒绝",
        "pods-denied": "其 Pod 将被拒绝",
        "pods-once-enforced": "强制执行后，其 Pod 将被拒绝",
        "only-warned": "已放行，策略对此仅作警告",
        "break-glass": "仅因紧急放行而准入",
    },
    what={
        "trusted": "可信",
        "exempt": "已豁免",
        "untrusted": "SWR 未将该镜像版本标记为可信",
        "untrusted/implied": "未写镜像版本时默认为 latest，而 SWR 未将其标记为可信",
        "untrusted/digest": "SWR 中具有该摘要的镜像版本并非全部可信",
        "untrusted/unsigned": "该镜像没有签名",
        "untrusted/bad-signature": "该镜像的签名在本集群均无效",
        "untrusted/threshold": "该镜像仅由 {signers} 签名",
        "untrusted/annotations": "该镜像的签名缺少注解 {annotations}",
        "untrusted/no-keys": "本集群目前有效的签名公钥数量不足，因此没有可信的镜像",
        "missing": "SWR 中不存在该镜像版本",
        "missing/implied": "未写镜像版本时默认为 latest，而 SWR 中不存在该镜像版本",
        "missing/digest": "SWR 中没有具有该摘要的镜像版本",
        "digest-mismatch": "指定的摘要与 SWR 中该镜像版本的摘要不一致",
        "digest-mismatch/pinning": "指定的摘要与 SWR 中该镜像版本的摘要不一致",
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
        "invalid/no-organization": "镜像中缺少 SWR 组织",
        "invalid/repository": "SWR 不允许使用这样的镜像仓库名称",
        "invalid/placeholder": "该镜像是占位符，将在创建 Pod 时判定",
        "invalid/digest-only": "只写了摘要，未写镜像版本，而 SWR 按镜像版本查询",
        "invalid/digest-required": "该命名空间要求镜像指定摘要",
        "invalid/not-pinned": "该命名空间要求镜像指定摘要，而该镜像未被写入摘要",
        "invalid/pull-policy": "该命名空间要求 imagePullPolicy 为 Always",
        "unmanaged": '本集群不允许使用来自仓库地址 "{host}" 的镜像',
        "unmanaged/organization": '仓库地址 "{host}" 的组织 "{organization}" 不属于本集群',
        "unmanaged/enterprise": "未配置该 SWR 企业版镜像仓库服务，因此无法判定其镜像",
        "unknown": "无法查询 SWR，因此无法得知该镜像是否可信",
        "unknown/timeout": "SWR 未及时响应，因此无法得知该镜像是否可信",
        "unknown/timeout/local": "Webhook 繁忙，未能及时查询 SWR，因此无法得知该镜像是否可信",
        "unknown/timeout/image": "SWR 未及时响应对该镜像的查询，但其他镜像的查询正常",
        "unknown/throttled": "SWR 正在限流，因此无法得知该镜像是否可信",
        "unknown/throttled/local": "Webhook 等待查询的镜像过多，因此无法得知该镜像是否可信",
        "unknown/unavailable": "无法连接 SWR，因此无法得知该镜像是否可信",
        "unknown/unavailable/local": "Webhook 查询 SWR 时发生故障，因此无法得知该镜像是否可信",
        "unknown/unavailable/image": "SWR 在查询该镜像时出错，因此无法得知其是否可信",
        "unknown/unauthorized": "Webhook 的 SWR 凭证或镜像仓库登录信息缺失或未被接受，"
        "因此无法得知该镜像是否可信",
        "unknown/forbidden": "本集群无权在 SWR 中读取该镜像，它可能属于其他账号",
        "unknown/malformed": "无法解析 SWR 的响应，因此无法得知该镜像是否可信",
    },
    advice={
        "trusted": "",
        "exempt": "",
        "untrusted": "请在 SWR 中将该镜像版本标记为可信，或改用可信的镜像版本。",
        "untrusted/implied": "请写成 name:tag，并使用可信的镜像版本。",
        "untrusted/digest": "请写成 name:tag@digest，并使用可信的镜像版本。",
        "untrusted/unsigned": "请用{needed}对其签名，然后重试。",
        "untrusted/bad-signature": "请用{needed}对其签名，然后重试。",
        "untrusted/threshold": "需要{needed}的签名，请补签后重试。",
        "untrusted/annotations": "请用{needed}并带上这些注解重新签名，然后重试。",
        "untrusted/no-keys": "请联系集群管理员。",
        "missing": "请将该镜像推送到 SWR，或更正其名称和镜像版本。",
        "missing/implied": "请写成 name:tag，并使用已存在的镜像版本。",
        "missing/digest": "请将该镜像推送到 SWR，或更正其摘要。",
        "digest-mismatch": "请使用 SWR 中该镜像版本的摘要，或改用具有该摘要的镜像版本。",
        "digest-mismatch/pinning": "如果只写了镜像版本，则该版本刚被更新，请重试；"
        "否则请使用 SWR 中该镜像版本的摘要。",
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
        "invalid/placeholder": "如果控制器或 Webhook 会在创建 Pod 之前替换该占位符，则无需处理。",
        "invalid/digest-only": "请写成 name:tag@sha256:...，摘要以 SWR 中该镜像版本显示的为准。",
        "invalid/digest-required": "请写成 name:tag@sha256:...，摘要以 SWR 中该镜像版本显示的为准；"
        "启用 pinDigests 后由 Webhook 写入。",
        "invalid/not-pinned": "请重试；如仍失败，请联系集群管理员。",
        "invalid/pull-policy": "请设置 imagePullPolicy: Always。",
        "unmanaged": "请将镜像推送到 {home}，并改用该地址的镜像。",
        "unmanaged/organization": "请更正组织名称，或联系集群管理员添加该组织。",
        "unmanaged/enterprise": "请将镜像推送到 {home}，并改用该地址的镜像，"
        "或联系集群管理员添加 edition: enterprise 的镜像仓库服务。",
        "unknown": "请一分钟后重试；如仍失败，请联系集群管理员。",
        "unknown/timeout": "请一分钟后重试；如仍失败，请联系集群管理员。",
        "unknown/timeout/local": "请一分钟后重试；如仍失败，请联系集群管理员。",
        "unknown/timeout/image": "请一分钟后重试；如仅以摘要引用该镜像，请写成 name:tag@digest。",
        "unknown/throttled": "请一分钟后重试；如仍失败，请联系集群管理员。",
        "unknown/throttled/local": "请一分钟后重试；如仍失败，请联系集群管理员。",
        "unknown/unavailable": "请一分钟后重试；如仍失败，请联系集群管理员。",
        "unknown/unavailable/local": "请一分钟后重试；如仍失败，请联系集群管理员。",
        "unknown/unavailable/image": "请一分钟后重试，或改用其他镜像版本，写成 name:tag@digest。",
        "unknown/unauthorized": "请联系集群管理员。",
        "unknown/forbidden": "请使用自己账号的镜像，或联系集群管理员。",
        "unknown/malformed": "请联系集群管理员。",
    },
    notes={
        "once-enforced": "强制执行后将被拒绝。",
        "pods-denied": "其 Pod 可能被拒绝。",
        "pods-pinned": "其 Pod 中将写入 {digest}",
        "signed-by": "由 {keys} 签名",
        "unknown-kind": "Webhook 无法读取 {resource}，Webhook 配置中的规则不应匹配该类型。请联系集群管理员。",
        "unreadable": "无法判定该对象：{detail}。请联系集群管理员。",
        "no-pod-spec": "对象中没有 Pod spec",
        "too-many-images": "对象中有 {count} 个镜像，上限为 {limit} 个",
        "busy": "Webhook 当前正在读取的大型对象过多。请一分钟后重试；如仍失败，请联系集群管理员。",
        "crash": "Webhook 发生故障，无法判定的请求一律拒绝。请一分钟后重试；如仍失败，请联系集群管理员。",
        "break-glass-ignored": '注解 "{annotation}" 被忽略：用户 "{user}" 无权使用。',
        "break-glass-empty": '注解 "{annotation}" 被忽略：其值必须写明原因。',
        "break-glass-used": '已凭紧急放行注解 "{annotation}" 放行，并已记录',
        "break-glass-unneeded": '无需使用紧急放行注解 "{annotation}"，但已记录',
        "one-key": "密钥 {keys} ",
        "any-key": "密钥 {keys} 中的任意一个",
        "several-keys": "密钥 {keys} 中的 {threshold} 个",
        "more-keys": "{keys} 和另外 {count} 个",
    },
)

CATALOGUES: Final[Mapping[Literal["en", "zh"], Catalogue]] = {"en": _ENGLISH, "zh": _CHINESE}

DENIALS: Final = tuple(catalogue.denied.rstrip(":： ") for catalogue in CATALOGUES.values())
"""The beginnings of a denial, to find it in a controller's Event; the same in all versions."""
