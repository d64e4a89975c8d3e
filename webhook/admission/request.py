"""The request of an AdmissionReview, typed."""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import Annotated, Any, Final, TypeVar

import msgspec

from webhook.admission.objects import KubernetesObject, ObjectMeta, OwnerReference

T = TypeVar("T")

MAX_NAME: Final = 253
"""Characters of an object's name (RFC 1123, DNS subdomain), all of them ASCII."""

Short = Annotated[str, msgspec.Meta(max_length=MAX_NAME)]
"""A name as the API server limits it. It ends up in logs and in memories that are counted by entries, and who
sends a review is not always the API server."""

MAX_TEXT: Final = 512
"""Bytes of whatever else is kept of an object, or of who asks, for records that are shorter still."""

MAX_LIST: Final = 256 * 1024
"""Bytes of a user's groups, or of an object's owners, else there are none: 2,000 names of 128 characters."""

_NULL: Final = msgspec.Raw(b"null")
_DECODE_ERRORS = (msgspec.DecodeError, UnicodeError)
_groups_decoder: Final = msgspec.json.Decoder(list[str] | None)
_owners_decoder: Final = msgspec.json.Decoder(list[OwnerReference] | None)


def cut(text: str, size: int) -> str:
    """Return the beginning of a text that takes ``size`` bytes in memory, and some more for its head.

    All characters of a string take as much as the largest: 1, 2 or 4 bytes, and 1 if all are ASCII.
    """
    return text[: size if text.isascii() else size // 4]


def _read_list(written: msgspec.Raw, decoder: msgspec.json.Decoder[list[T] | None]) -> list[T]:
    """Return a list that stands in a review, an empty one for what is none or far too long."""
    if len(written) > MAX_LIST:
        return []
    try:
        return decoder.decode(written) or []
    except _DECODE_ERRORS:
        return []


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
    written_groups: msgspec.Raw = msgspec.field(default=_NULL, name="groups")
    """As they stand in the review: hardly any is asked about them, and 7 MiB of them take long to decode."""

    @property
    def groups(self) -> list[str]:
        """The user's groups."""
        return _read_list(self.written_groups, _groups_decoder)


@lru_cache(maxsize=8)
def _decoder_of_annotation(key: str) -> msgspec.json.Decoder[Any]:
    """Return what decodes one annotation and skips all others."""
    field = ("value", str | None, msgspec.field(default=None, name=key))
    return msgspec.json.Decoder(msgspec.defstruct("Annotations", [field]))


class ReviewedMeta(ObjectMeta, rename="camel"):
    """The metadata of an object under review, of which a part is as it stands in the review.

    Of 100,000 annotations in 7 MiB one is read, and to decode all of them takes a tenth of a second.
    """

    annotations: msgspec.Raw = _NULL
    written_owners: msgspec.Raw = msgspec.field(default=_NULL, name="ownerReferences")

    @property
    def owner_references(self) -> list[OwnerReference]:
        """The object's owners."""
        return _read_list(self.written_owners, _owners_decoder)

    def annotation(self, key: str) -> str | None:
        """Return an annotation, ``None`` where it is not there."""
        try:
            value: str | None = _decoder_of_annotation(key).decode(self.annotations).value
        except _DECODE_ERRORS:  # null, above all
            return None
        return value


class ReviewedObject(KubernetesObject):
    """An object under review."""

    metadata: ReviewedMeta | None = None


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
    object: ReviewedObject | None = None
    old_object: ReviewedObject | None = None
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
        Of the controllers the first is kept; the API server allows one.
        """
        self.old_object = None
        self.user_info = UserInfo(cut(self.user_info.username, MAX_TEXT))
        meta = self.object.metadata if self.object is not None else None
        if meta is None:
            self.object = None
            return
        owners = (owner for owner in meta.owner_references if _is_controller(owner))
        kept = msgspec.Raw(msgspec.json.encode([_cut_owner(owner) for owner in itertools.islice(owners, 1)]))
        name, prefix, uid = (cut(text, MAX_TEXT) for text in (meta.name, meta.generate_name, meta.uid))
        self.object = ReviewedObject(ReviewedMeta(name, prefix, uid, written_owners=kept))


def _is_controller(owner: OwnerReference) -> bool:
    return bool(owner.controller and owner.kind and owner.name)


def _cut_owner(owner: OwnerReference) -> OwnerReference:
    return OwnerReference(
        api_version=cut(owner.api_version, MAX_TEXT),
        kind=cut(owner.kind, MAX_TEXT),
        name=cut(owner.name, MAX_TEXT),
        uid=cut(owner.uid, MAX_TEXT),
        controller=True,
    )
