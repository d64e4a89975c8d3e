"""Where the images of an object are, and which of them are to be judged.

A use is one image string at one place. Uses are keyed by the list they stand in and the name of
their container or volume, so that an update is judged by what it adds or changes: a finalizer can
always be removed, and a label changed, on a Pod whose image has lost its trust since.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Final

import msgspec

from webhook.admission.objects import Container, KubernetesObject, Spec
from webhook.admission.request import MAX_NAME, AdmissionRequest, cut

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
"""The kinds that hold a Pod template, by API group and resource."""

IGNORED_SUBRESOURCES: Final = frozenset({"status", "scale", "resize", "binding", "eviction"})
"""Subresources that cannot bring in an image."""

IGNORED_OPERATIONS: Final = frozenset({"DELETE", "CONNECT"})
JUDGED_OPERATIONS: Final = frozenset({"CREATE", "UPDATE"})

MIRROR_ANNOTATION: Final = "kubernetes.io/config.mirror"


class Subject(Enum):
    """What kind of thing a request is about."""

    POD = "pod"
    WORKLOAD = "workload"
    MIRROR_POD = "mirror-pod"
    """The API server's copy of a static Pod, created by the node that already runs it."""
    IGNORED = "ignored"
    """Nothing in it can bring in an image."""
    UNKNOWN = "unknown"
    """Nobody taught us to read it."""


class ImageUse(msgspec.Struct, frozen=True, gc=False):
    """One image string at one place of an object.

    ``field`` is the path a person would look for (``spec.containers[0].image``), ``place`` the key
    of the use within its object. ``template`` is true below a workload's Pod template, where an
    image may be a placeholder that something fills in later.
    """

    field: str
    place: tuple[str, str]
    image: str
    pull_policy: str = ""
    template: bool = False


MAX_IMAGE: Final = 512
"""Characters of an image that are judged: one of more than 456 is invalid, so one cut to these is, too."""

MAX_ODD_IMAGE: Final = 100
"""Characters of an image with one that is not ASCII. It is invalid, and these are enough to find it by."""

CUT: Final = "\u2026"
"""Stands for what was left out of such an image: an ellipsis, so that it is as invalid as it was."""


def shorten(use: ImageUse) -> ImageUse:
    """Return a use without what no image can have, for the time in which a review waits.

    A string takes up to four times its bytes in the body, and the budget of bodies counts those.
    """
    image = use.image[:MAX_IMAGE]
    if not image.isascii() and len(image) > MAX_ODD_IMAGE:
        half = MAX_ODD_IMAGE // 2
        image = image[:half] + CUT + image[-half:]
    place = (use.place[0], cut(use.place[1], MAX_NAME))
    return ImageUse(use.field, place, image, cut(use.pull_policy, MAX_NAME), use.template)


def classify(request: AdmissionRequest) -> Subject:
    """Tell what a request is about; what is not known to be harmless is ``UNKNOWN``."""
    if request.operation in IGNORED_OPERATIONS or request.sub_resource in IGNORED_SUBRESOURCES:
        return Subject.IGNORED
    if request.operation not in JUDGED_OPERATIONS or request.resource.version != "v1":
        return Subject.UNKNOWN
    resource = (request.resource.group, request.resource.resource)
    if resource == PODS and request.kind.kind == "Pod":
        if request.sub_resource not in ("", "ephemeralcontainers"):
            return Subject.UNKNOWN
        return Subject.MIRROR_POD if _is_mirror(request) else Subject.POD
    if WORKLOADS.get(resource) == request.kind.kind and not request.sub_resource:
        return Subject.WORKLOAD
    return Subject.UNKNOWN


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


def find_uses(subject: Subject, kind: str, obj: KubernetesObject | None) -> list[ImageUse] | None:
    """Return every image use of an object, or ``None`` where its Pod spec is not to be found."""
    prefix, spec = _pod_spec(subject, kind, obj)
    if spec is None:
        return None
    template = subject is Subject.WORKLOAD
    return list(_uses_of(prefix, spec, template=template))


def count_images(subject: Subject, kind: str, obj: KubernetesObject | None) -> int:
    """Return an upper bound of how many images an object holds, without looking at them."""
    _, spec = _pod_spec(subject, kind, obj)
    return sum(map(len, filter(None, _lists_of(spec)))) if spec is not None else 0


def has_same_images(
    subject: Subject, kind: str, obj: KubernetesObject | None, old: KubernetesObject | None
) -> bool:
    """Whether everything that can hold an image is as it was in the old object."""
    (_, spec), (_, before) = _pod_spec(subject, kind, obj), _pod_spec(subject, kind, old)
    return spec is not None and before is not None and _lists_of(spec) == _lists_of(before)


def _lists_of(spec: Spec) -> tuple[Sequence[object] | None, ...]:
    return spec.containers, spec.init_containers, spec.ephemeral_containers, spec.volumes


def changed_uses(uses: list[ImageUse], old: list[ImageUse] | None) -> list[ImageUse]:
    """Return the uses that are new or changed against the old object's.

    Without an old object that could be read all of them are new. Places that occur twice in the
    old object prove nothing and are judged again.
    """
    if not old:
        return uses
    before: dict[tuple[str, str], tuple[str, str] | None] = {}
    for use in old:
        before[use.place] = None if use.place in before else (use.image, use.pull_policy)
    return [use for use in uses if before.get(use.place) != (use.image, use.pull_policy)]


def _pod_spec(subject: Subject, kind: str, obj: KubernetesObject | None) -> tuple[str, Spec | None]:
    spec = obj.spec if obj is not None else None
    if subject in (Subject.POD, Subject.MIRROR_POD):
        return "spec", spec
    if kind == "CronJob":
        job_template = spec.job_template if spec is not None else None
        job = job_template.spec if job_template is not None else None
        template = job.template if job is not None else None
        return "spec.jobTemplate.spec.template.spec", template.spec if template is not None else None
    template = spec.template if spec is not None else None
    return "spec.template.spec", template.spec if template is not None else None


def _uses_of(prefix: str, spec: Spec, *, template: bool) -> Iterator[ImageUse]:
    lists: tuple[tuple[str, list[Container] | None], ...] = (
        ("containers", spec.containers),
        ("initContainers", spec.init_containers),
        ("ephemeralContainers", spec.ephemeral_containers),
    )
    for name, containers in lists:
        for index, container in enumerate(containers or ()):
            yield ImageUse(
                f"{prefix}.{name}[{index}].image",
                (name, container.name),
                container.image,
                container.image_pull_policy,
                template,
            )
    for index, volume in enumerate(spec.volumes or ()):
        if volume.image is not None:
            yield ImageUse(
                f"{prefix}.volumes[{index}].image.reference",
                ("volumes", volume.name),
                volume.image.reference,
                volume.image.pull_policy,
                template,
            )
