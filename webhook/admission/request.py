"""The request of an AdmissionReview, typed."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from webhook.admission.objects import KubernetesObject

Short = Annotated[str, msgspec.Meta(max_length=512)]
"""A name as the API server limits it to 253 characters. It ends up in logs and in memories that are
counted by entries, and who sends a review is not always the API server."""


MAX_NAME: Final = 253
"""Characters of an object's name (RFC 1123, DNS subdomain)."""


class GroupKind(msgspec.Struct, gc=False):
    """The kind of the object that is judged."""

    group: Short = ""
    version: Short = ""
    kind: Short = ""


class GroupResource(msgspec.Struct, gc=False):
    """The resource that the request was sent to."""

    group: Short = ""
    version: Short = ""
    resource: Short = ""


class UserInfo(msgspec.Struct, gc=False):
    """Who asked, as the API server authenticated them."""

    username: str = ""
    groups: list[str] | None = None


class AdmissionRequest(msgspec.Struct, rename="camel"):
    """The request of an AdmissionReview.

    ``unreadable`` is ours: it says what is wrong with ``object`` where it could not be decoded,
    in one clause, and is empty otherwise. Such a request has ``object`` ``None``.
    """

    uid: str
    kind: GroupKind
    resource: GroupResource
    operation: Short
    user_info: UserInfo
    sub_resource: Short = ""
    name: Short = ""
    namespace: Short = ""
    dry_run: bool | None = None
    object: KubernetesObject | None = None
    old_object: KubernetesObject | None = None
    unreadable: str = msgspec.field(default="", name="-")

    @property
    def object_name(self) -> str:
        """The object's name, its ``generateName`` with ``*`` where it has none yet, or ``""``."""
        if self.name:
            return self.name
        meta = self.object.metadata if self.object is not None else None
        if meta is None:
            return ""
        name = meta.name or (f"{meta.generate_name}*" if meta.generate_name else "")
        return name[:MAX_NAME]
