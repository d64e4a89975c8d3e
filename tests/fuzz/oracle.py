"""An independent oracle for what an AdmissionReview may admit, which shares no code with the webhook.

It knows no kinds and no schema: every value of a key ``image`` below a Pod's lists is an image. It knows no
grammar: trusted images are a list of strings, compared exactly except for the case of the host. It is
therefore stricter than the webhook, and each disagreement must be examined.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

HOSTS = ("swr.cn-north-4.myhuaweicloud.com", "10.125.0.198:20202")
GOOD = "sha256:" + "a" * 64
BAD = "sha256:" + "b" * 64
TRUSTED = ("shop/web:1", f"shop/web:1@{GOOD}", "shop/tools/web:1", f"shop/tools/web:1@{GOOD}")
"""The part of a trusted image after its host."""

PLACEHOLDERS = ("", "auto")

FIELDS = {"containers", "initContainers", "ephemeralContainers", "volumes"}
"""The keys below which a Pod has images. The API server sends no field that it does not know.
``tests/unit/admission/test_kubernetes_fields.py`` checks that it knows no other field with an image.
"""

Found = tuple[tuple[str, ...], str, str, str]
"""The keys that lead to a container or volume, its name, its image and its pull policy."""


def may_be_admitted(request: dict[str, Any]) -> bool:
    """Return whether a raw request may be allowed under an enforcing policy without exemptions."""
    if request.get("operation") in ("DELETE", "CONNECT"):
        return True
    if request.get("subResource") in ("status", "scale", "resize", "binding", "eviction"):
        return True
    obj = request.get("object")
    if not isinstance(obj, dict):
        return False
    if is_mirror(request, obj):
        return True
    known = find(request.get("oldObject")) if request.get("operation") == "UPDATE" else Counter()
    template = request["resource"]["resource"] != "pods"
    return all(
        item in known or is_trusted(item[2]) or (template and item[2] in PLACEHOLDERS) for item in find(obj)
    )


def is_trusted(image: str) -> bool:
    """Whether an image is in the list."""
    host, slash, rest = image.partition("/")
    return bool(slash) and host.lower() in HOSTS and rest in TRUSTED


def is_mirror(request: dict[str, Any], pod: dict[str, Any]) -> bool:
    """Return whether it is a node's own report of a Pod that it already runs."""
    user = request.get("userInfo") or {}
    node = (pod.get("spec") or {}).get("nodeName")
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    return (
        request.get("operation") == "CREATE"
        and "kubernetes.io/config.mirror" in annotations
        and bool(node)
        and user.get("username") == f"system:node:{node}"
        and "system:nodes" in (user.get("groups") or ())
    )


def find(obj: Any) -> Counter[Found]:
    """Return all images below the spec of an object."""
    if not isinstance(obj, dict):
        return Counter()
    return Counter(item for item in _walk(obj.get("spec"), ("spec",)) if not FIELDS.isdisjoint(item[0]))


def _walk(value: Any, keys: tuple[str, ...]) -> Iterator[Found]:
    if isinstance(value, list):
        for item in value:
            yield from _walk(item, keys)
    elif isinstance(value, dict):
        name, image = str(value.get("name", "")), value.get("image")
        if isinstance(image, str):
            yield keys, name, image, str(value.get("imagePullPolicy", ""))
        elif isinstance(image, dict):
            yield keys, name, str(image.get("reference", "")), str(image.get("pullPolicy", ""))
        elif keys[-1].lower().endswith("containers"):
            yield keys, name, "", str(value.get("imagePullPolicy", ""))
        for key, inner in value.items():
            if key != "image":
                yield from _walk(inner, (*keys, key))
