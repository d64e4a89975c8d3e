"""Extraction of the images that a request must have evaluated.

This is the only module that knows the places of images. An image use is one image string at one place. Its
key is the list and the name of its container or volume. An update is evaluated only for the images that it
adds or changes. So a label or a finalizer can be changed on a Pod whose image is no longer trusted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from webhook.admission.objects import Container, KubernetesObject, Spec
from webhook.admission.request import MAX_NAME, AdmissionRequest, truncate

PODS: Final = ("", "pods")

WORKLOADS: Final[Mapping[tuple[str, str], str]] = {
    ("apps", "deployments"): "Deployment",
    ("apps", "replicasets"): "ReplicaSet",
    ("apps", "statefulsets"): "StatefulSet",
    ("apps", "daemonsets"): "DaemonSet",
    ("batch", "jobs"): "Job",
    ("batch", "cronjobs"): "CronJob",
    ("", "replicationcontrollers"): "ReplicationController",
}
"""The kinds with a Pod template, by API group and resource."""

CONTAINER_LISTS: Final = ("containers", "initContainers", "ephemeralContainers")
"""The lists of containers in a Pod spec."""

IGNORED_SUBRESOURCES: Final = frozenset({"status", "scale", "resize", "binding", "eviction"})
"""Subresources that cannot add an image."""

IGNORED_OPERATIONS: Final = frozenset({"DELETE", "CONNECT"})
EVALUATED_OPERATIONS: Final = frozenset({"CREATE", "UPDATE"})

MIRROR_ANNOTATION: Final = "kubernetes.io/config.mirror"

MAX_IMAGE_LENGTH: Final = 512
"""Characters of an image that are evaluated. An image of more than 456 is invalid, even if it was shortened
to this length."""

MAX_NON_ASCII_LENGTH: Final = 100
"""Characters of an image that is not ASCII. It is invalid; these are enough to find it in the manifest."""

ELLIPSIS: Final = "\u2026"
"""Replaces the middle of such an image: an ellipsis is not ASCII either, so the image stays invalid."""


class TargetKind(StrEnum):
    """The kind of object that a request is about. The values are public: a metric label."""

    POD = "pod"
    WORKLOAD = "workload"
    MIRROR_POD = "mirror-pod"
    """The API server's copy of a static Pod, created by the node that already runs it."""
    IGNORED = "ignored"
    """The request cannot add an image."""
    UNKNOWN = "unknown"
    """The webhook cannot read the kind."""


class ImageUse(msgspec.Struct, frozen=True, gc=False):
    """One image string at one place of an object.

    ``field`` is the path of the image in the object (``spec.containers[0].image``). ``place`` is the key of
    the use within its object. ``template`` is true in a workload's Pod template, where an image may be a
    placeholder.
    """

    field: str
    place: tuple[str, str]
    image: str
    pull_policy: str = ""
    template: bool = False


def shorten(use: ImageUse) -> ImageUse:
    """Return an image use without characters that no valid image has, to be kept during the lookup.

    In memory, a string takes up to four times its size in the body, and the body budget counts the latter.
    """
    # Nearly all uses are short, in characters of any size.
    if (
        len(use.image) <= MAX_NON_ASCII_LENGTH
        and len(use.place[1]) <= MAX_NAME // 4
        and len(use.pull_policy) <= MAX_NAME // 4
    ):
        return use
    image = use.image[:MAX_IMAGE_LENGTH]
    if not image.isascii() and len(image) > MAX_NON_ASCII_LENGTH:
        half = MAX_NON_ASCII_LENGTH // 2
        image = image[:half] + ELLIPSIS + image[-half:]
    place = (use.place[0], truncate(use.place[1], MAX_NAME))
    return ImageUse(use.field, place, image, truncate(use.pull_policy, MAX_NAME), use.template)


def classify(request: AdmissionRequest) -> TargetKind:
    """Return the kind of object that a request is about; ``UNKNOWN`` if it is not known to be harmless."""
    if request.operation in IGNORED_OPERATIONS or request.sub_resource in IGNORED_SUBRESOURCES:
        return TargetKind.IGNORED
    if request.operation not in EVALUATED_OPERATIONS or request.resource.version != "v1":
        return TargetKind.UNKNOWN
    resource = (request.resource.group, request.resource.resource)
    if resource == PODS and request.kind.kind == "Pod":
        if request.sub_resource not in ("", "ephemeralcontainers"):
            return TargetKind.UNKNOWN
        return TargetKind.MIRROR_POD if _is_mirror(request) else TargetKind.POD
    if WORKLOADS.get(resource) == request.kind.kind and not request.sub_resource:
        return TargetKind.WORKLOAD
    return TargetKind.UNKNOWN


def _is_mirror(request: AdmissionRequest) -> bool:
    pod = request.object
    if request.operation != "CREATE" or pod is None or pod.metadata is None or pod.spec is None:
        return False
    user = request.user_info
    return (
        bool(pod.spec.node_name)
        and user.username == f"system:node:{pod.spec.node_name}"
        and "system:nodes" in user.groups
        and pod.metadata.annotation(MIRROR_ANNOTATION) is not None
    )


def extract_images(target: TargetKind, kind: str, obj: KubernetesObject | None) -> list[ImageUse] | None:
    """Return every image use of an object, or ``None`` if it has no Pod spec."""
    path, spec = _pod_spec(target, kind, obj)
    if spec is None:
        return None
    return _images_of(spec, path, template=target is TargetKind.WORKLOAD)


def extract_pod_images(spec: Spec) -> list[ImageUse]:
    """Return every image use of a Pod's spec."""
    return _images_of(spec)


def count_images(target: TargetKind, kind: str, obj: KubernetesObject | None) -> int:
    """Return an upper bound of the number of images of an object, without extracting them."""
    _, spec = _pod_spec(target, kind, obj)
    return sum(map(len, filter(None, _lists_of(spec)))) if spec is not None else 0


def has_same_images(
    target: TargetKind, kind: str, obj: KubernetesObject | None, old: KubernetesObject | None
) -> bool:
    """Return whether all lists that can hold an image equal those of the old object."""
    (_, spec), (_, before) = _pod_spec(target, kind, obj), _pod_spec(target, kind, old)
    return spec is not None and before is not None and _lists_of(spec) == _lists_of(before)


def changed_images(uses: list[ImageUse], old: list[ImageUse] | None) -> list[ImageUse]:
    """Return the image uses that are not in the old object.

    Without a readable old object, these are all. A place that occurs twice in the old object does not count.
    """
    if not old:
        return uses
    before = {place: (use.image, use.pull_policy) for place, use in _by_place(old).items()}
    return [use for use in uses if before.get(use.place) != (use.image, use.pull_policy)]


def uses_by_place(
    target: TargetKind, kind: str, obj: KubernetesObject | None
) -> dict[tuple[str, str], ImageUse]:
    """Return the image uses of an object by place, without places that occur twice."""
    return _by_place(extract_images(target, kind, obj) or ())


def _by_place(found: Iterable[ImageUse]) -> dict[tuple[str, str], ImageUse]:
    uses: dict[tuple[str, str], ImageUse | None] = {}
    for use in found:
        uses[use.place] = None if use.place in uses else use
    return {place: use for place, use in uses.items() if use is not None}


def _pod_spec(target: TargetKind, kind: str, obj: KubernetesObject | None) -> tuple[str, Spec | None]:
    spec = obj.spec if obj is not None else None
    if target in (TargetKind.POD, TargetKind.MIRROR_POD):
        return "spec", spec
    if kind == "CronJob":
        job_template = spec.job_template if spec is not None else None
        job = job_template.spec if job_template is not None else None
        template = job.template if job is not None else None
        return "spec.jobTemplate.spec.template.spec", template.spec if template is not None else None
    template = spec.template if spec is not None else None
    return "spec.template.spec", template.spec if template is not None else None


def _container_lists(spec: Spec) -> tuple[list[Container] | None, ...]:
    """Return the containers of a spec, in the order of ``CONTAINER_LISTS``."""
    return spec.containers, spec.init_containers, spec.ephemeral_containers


def _lists_of(spec: Spec) -> tuple[Sequence[object] | None, ...]:
    return *_container_lists(spec), spec.volumes


def _images_of(spec: Spec, path: str = "spec", *, template: bool = False) -> list[ImageUse]:
    uses = [
        ImageUse(
            f"{path}.{name}[{index}].image",
            (name, container.name),
            container.image,
            container.image_pull_policy,
            template,
        )
        for name, containers in zip(CONTAINER_LISTS, _container_lists(spec), strict=True)
        for index, container in enumerate(containers or ())
    ]
    for index, volume in enumerate(spec.volumes or ()):
        if volume.image is not None:
            field = f"{path}.volumes[{index}].image.reference"
            place = ("volumes", volume.name)
            uses.append(ImageUse(field, place, volume.image.reference, volume.image.pull_policy, template))
    return uses
