"""The request of an AdmissionReview, typed."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from webhook.admission.objects import KubernetesObject, ObjectMeta, OwnerReference

Short = Annotated[str, msgspec.Meta(max_length=512)]
"""A name as the API server limits it to 253 characters. It ends up in logs and in memories that are
counted by entries, and who sends a review is not always the API server."""


MAX_NAME: Final = 253
"""Characters of an object's name (RFC 1123, DNS subdomain)."""

MAX_TEXT: Final = 512
"""Characters of whatever else is kept of an object, or of who asks, for records that are shorter still."""

MAX_CONTROLLERS: Final = 10
"""Controllers of one object that are kept; the API server allows one."""


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

    def keep_identity(self) -> None:
        """Forget of both objects, and of who asks, all but what records of the decision name.

        A review may wait for SWR for seconds, and what was decoded takes up to ten times its bytes in the
        body, which are all that the budget of bodies counts: each of 87,000 empty annotations is 9 bytes
        there and 84 here, and one character beyond the BMP makes four bytes of each other one of its string.
        So whatever is read of the content is read before the wait, and names are cut to what records show.
        """
        self.old_object = None
        self.user_info = UserInfo(self.user_info.username[:MAX_TEXT])
        meta = self.object.metadata if self.object is not None else None
        if meta is None:
            self.object = None
            return
        controllers = [owner for owner in meta.owner_references or () if owner.controller and owner.name]
        owners = [
            OwnerReference(
                api_version=owner.api_version[:MAX_TEXT],
                kind=owner.kind[:MAX_TEXT],
                name=owner.name[:MAX_TEXT],
                uid=owner.uid[:MAX_TEXT],
                controller=True,
            )
            for owner in controllers[:MAX_CONTROLLERS]
        ]
        name, prefix, uid = (text[:MAX_TEXT] for text in (meta.name, meta.generate_name, meta.uid))
        self.object = KubernetesObject(ObjectMeta(name, prefix, uid, None, owners))
