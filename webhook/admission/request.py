"""The request of an AdmissionReview (Kubernetes documentation: Dynamic Admission Control)."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec

from webhook.admission.objects import KubernetesObject, ObjectMeta, OwnerReference, controller_of

T = TypeVar("T")
ObjectT = TypeVar("ObjectT")

MAX_NAME: Final = 253
"""Characters of an object's name (RFC 1123, DNS subdomain), all of them ASCII."""

Short = Annotated[str, msgspec.Meta(max_length=MAX_NAME)]
"""A name as the API server limits it. Names are logged, and kept in caches that are bounded by entries; the
sender of a review is not always the API server."""

MAX_TEXT: Final = 512
"""Bytes of any other text of an object or user that is kept for records, which are shorter."""

MAX_LIST: Final = 256 * 1024
"""Bytes of a user's groups or an object's owners: 2,000 names of 128 characters. A longer list counts as
empty."""

_NULL: Final = msgspec.Raw(b"null")
_DECODE_ERRORS = (msgspec.DecodeError, UnicodeError)
_groups_decoder: Final = msgspec.json.Decoder(list[str] | None)
_owners_decoder: Final = msgspec.json.Decoder(list[OwnerReference] | None)


def truncate(text: str, size: int) -> str:
    """Return the beginning of a text, at most ``size`` bytes in memory without the header of the string.

    All characters of a string take as many bytes as the largest one: 1, 2 or 4, and 1 if all are ASCII.
    """
    if len(text) <= size // 4:
        return text
    return text[: size if text.isascii() else size // 4]


def _read_list(written: msgspec.Raw, decoder: msgspec.json.Decoder[list[T] | None]) -> list[T]:
    """Decode a list of a review; return an empty one if it is not a list or too long."""
    if len(written) > MAX_LIST:
        return []
    try:
        return decoder.decode(written) or []
    except _DECODE_ERRORS:
        return []


class GroupKind(msgspec.Struct, gc=False):
    """The kind of the object."""

    group: Short = ""
    version: Short = ""
    kind: Short = ""


class GroupResource(msgspec.Struct, gc=False):
    """The resource that the request was sent to."""

    group: Short = ""
    version: Short = ""
    resource: Short = ""


class UserInfo(msgspec.Struct, gc=False):
    """The requester, as the API server authenticated it."""

    username: str = ""
    written_groups: msgspec.Raw = msgspec.field(default=_NULL, name="groups")
    """Undecoded: few reviews need the groups, and 7 MiB of them take long to decode."""

    @property
    def groups(self) -> list[str]:
        """The user's groups."""
        return _read_list(self.written_groups, _groups_decoder)


@lru_cache(maxsize=8)
def _decoder_of_annotation(key: str) -> msgspec.json.Decoder[Any]:
    """Return a decoder of one annotation that skips all others."""
    field = ("value", str | None, msgspec.field(default=None, name=key))
    return msgspec.json.Decoder(msgspec.defstruct("Annotations", [field]))


class ReviewedMeta(ObjectMeta, rename="camel"):
    """The metadata of an object under review, in part undecoded.

    At most one annotation is read; decoding 100,000 of them (7 MiB) takes a tenth of a second.
    """

    annotations: msgspec.Raw = _NULL
    written_owners: msgspec.Raw = msgspec.field(default=_NULL, name="ownerReferences")

    @property
    def owner_references(self) -> list[OwnerReference]:
        """The object's owners."""
        return _read_list(self.written_owners, _owners_decoder)

    def annotation(self, key: str) -> str | None:
        """Return an annotation, or ``None`` if it is not set."""
        if self.annotations is _NULL:
            return None
        try:
            value: str | None = _decoder_of_annotation(key).decode(self.annotations).value
        except _DECODE_ERRORS:  # most often null
            return None
        return value


class KeptMeta(ReviewedMeta, rename="camel"):
    """The metadata that ``AdmissionRequest.keep_identity`` keeps."""

    controller: OwnerReference | None = None

    @property
    def owner_references(self) -> list[OwnerReference]:
        """The controller, if the object has one."""
        return [self.controller] if self.controller is not None else []


class ReviewedObject(KubernetesObject):
    """An object under review."""

    metadata: ReviewedMeta | None = None


class Request(msgspec.Struct, Generic[ObjectT], rename="camel"):
    """The request of an AdmissionReview; ``ObjectT`` is the type of its objects, decoded or raw.

    ``unreadable`` is not part of the protocol. It is a clause that says why ``object`` could not be decoded,
    and ``object`` is then ``None``.
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
    object: ObjectT = None  # type: ignore[assignment]  # absent is null, also of a raw object
    old_object: ObjectT = None  # type: ignore[assignment]  # the same
    unreadable: str = msgspec.field(default="", name="-")

    @property
    def object_name(self: AdmissionRequest) -> str:
        """The object's name, its ``generateName`` with ``*`` if it has no name yet, or ``""``."""
        if self.name:
            return self.name
        meta = self.object.metadata if self.object is not None else None
        if meta is None:
            return ""
        name = meta.name or (f"{meta.generate_name}*" if meta.generate_name else "")
        return name[:MAX_NAME]

    def keep_identity(self: AdmissionRequest) -> None:
        """Drop the objects and the user, except the names that records of the decision contain.

        A review may wait seconds for SWR. The body budget counts the bytes of the body, and a decoded object
        takes up to ten times as many. For example, each of 87,000 empty annotations takes 9 bytes in the body
        and 84 here. One character beyond the BMP makes every character of its string take four bytes. The
        content is therefore read before the wait, and names are shortened to what records show. Only the
        first controller is kept; the API server allows one.
        """
        self.old_object = None
        self.user_info = UserInfo(truncate(self.user_info.username, MAX_TEXT))
        meta = self.object.metadata if self.object is not None else None
        if meta is None:
            self.object = None
            return
        owner = controller_of(meta.owner_references)
        self.object = ReviewedObject(
            KeptMeta(
                truncate(meta.name, MAX_TEXT),
                truncate(meta.generate_name, MAX_TEXT),
                truncate(meta.uid, MAX_TEXT),
                controller=_shorten_owner(owner) if owner is not None else None,
            )
        )


AdmissionRequest = Request[ReviewedObject | None]
"""A request whose objects are decoded."""


def _shorten_owner(owner: OwnerReference) -> OwnerReference:
    return OwnerReference(
        truncate(owner.api_version, MAX_TEXT),
        truncate(owner.kind, MAX_TEXT),
        truncate(owner.name, MAX_TEXT),
        truncate(owner.uid, MAX_TEXT),
        controller=True,
    )
