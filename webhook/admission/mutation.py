"""The response of ``/mutate``: a plain value, with the JSON Patch that it encodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final, Self

import msgspec

from webhook.admission.annotations import MAX_FINDINGS, MAX_IMAGE_LENGTH, list_images
from webhook.admission.decision import ImageResult
from webhook.admission.extraction import ImageUse
from webhook.policy.findings import Finding


class Outcome(StrEnum):
    """The outcome of a request; a metric label and a key of the log."""

    PINNED = "pinned"
    """At least one image got its digest or kept it."""
    UNCHANGED = "unchanged"
    """The policy pins no image of the request, or no image could be pinned."""
    BUSY = "busy"
    """The request could not be read, because too many large ones are read at the moment."""
    ERROR = "error"
    """An internal error."""


class Pin(msgspec.Struct, frozen=True, gc=False):
    """A new value for the image of one use. ``signers`` are the names of the keys that signed the digest.

    ``is_kept`` is true if an update wrote the tag alone of an image that the Pod already pins: it keeps its
    digest, because the author has changed nothing.
    """

    use: ImageUse
    image: str
    is_kept: bool = False
    signers: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """The digest, ``sha256:...``."""
        return self.image.rpartition("@")[2]


class PinnedImage(msgspec.Struct, omit_defaults=True, gc=False):
    """A pin, as the log and the audit annotation show it."""

    field: str
    image: str
    digest: str
    kept: bool = False
    signers: tuple[str, ...] = ()


class NotPinned(msgspec.Struct, frozen=True, gc=False):
    """An image that the policy pins, but that stays as it is. ``reason`` is a metric label.

    It is the finding, or for a trusted image ``no-digest`` if SWR sent no digest, and ``rules`` if the rules
    would evaluate the pinned image more strictly.
    """

    field: str
    image: str
    reason: str


class Mutation(msgspec.Struct, frozen=True):
    """The response to one request. It always admits: ``/validate`` decides."""

    outcome: Outcome = Outcome.UNCHANGED
    pins: tuple[Pin, ...] = ()
    not_pinned: tuple[NotPinned, ...] = ()
    annotations: Mapping[str, str] = msgspec.field(default_factory=dict)

    @classmethod
    def of(cls, pins: Sequence[Pin], not_pinned: Sequence[NotPinned], policy_version: str) -> Self:
        """Return the response with these pins, and its audit annotations."""
        outcome = Outcome.PINNED if pins else Outcome.UNCHANGED
        annotations: dict[str, str] = {}
        if pins:
            annotations["pinned"] = list_images(describe_pins(pins), len(pins))
        if not_pinned:
            annotations["not-pinned"] = list_images(not_pinned[:MAX_FINDINGS], len(not_pinned))
        if annotations:
            annotations["policy"] = policy_version
        return cls(outcome, tuple(pins), tuple(not_pinned), annotations)


def describe_pins(pins: Sequence[Pin]) -> list[PinnedImage]:
    """Return the first ``MAX_FINDINGS`` pins for records; their sizes are limited."""
    return [
        PinnedImage(pin.use.field, pin.use.image[:MAX_IMAGE_LENGTH], pin.digest, pin.is_kept, pin.signers)
        for pin in pins[:MAX_FINDINGS]
    ]


def describe_not_pinned(item: ImageResult) -> NotPinned:
    """Return why an image that the policy pins stays as it is; its size is limited."""
    record = item.check.record
    if item.check.finding is not Finding.TRUSTED:
        reason = str(item.check.finding)
    else:
        reason = "no-digest" if record is None or record.digest is None else "rules"
    return NotPinned(item.use.field, item.use.image[:MAX_IMAGE_LENGTH], reason)


class _Operation(msgspec.Struct, gc=False):
    op: str
    path: str
    value: str


_encoder: Final = msgspec.json.Encoder()


def write_patch(pins: Sequence[Pin]) -> bytes:
    """Return the JSON Patch (RFC 6902) that writes the pinned images, ``b""`` if there are none.

    A ``test`` of the image as it was read comes before each ``replace``, so that no other value is replaced.
    """
    operations = [
        operation
        for pin in pins
        for path in [_pointer(pin.use.field)]
        for operation in (_Operation("test", path, pin.use.image), _Operation("replace", path, pin.image))
    ]
    return _encoder.encode(operations) if operations else b""


def _pointer(field: str) -> str:
    """Return the JSON Pointer (RFC 6901) of a field that ``webhook.admission.extraction`` names.

    ``spec.containers[0].image`` is ``/spec/containers/0/image``. Such names need no escapes.
    """
    return "/" + field.replace("[", "/").replace("]", "").replace(".", "/")
