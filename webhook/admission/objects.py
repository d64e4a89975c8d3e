"""The fields of Kubernetes objects that are read, as typed structures.

One superset of fields covers Pods and every kind with a Pod template, so that an AdmissionReview is decoded
in one pass. Unknown fields are skipped, so that a newer API is accepted. The resource of the request decides
which fields are read (``webhook.admission.extraction``), never the object itself.

``null`` is accepted wherever the API server may write it for an empty list, map or struct.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class OwnerReference(msgspec.Struct, rename="camel", gc=False):
    """An owner of an object, as the object claims. Used for records only, never for a decision."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None


def controller_of(owners: Iterable[OwnerReference] | None) -> OwnerReference | None:
    """Return the controller that created an object; the API server allows one."""
    for owner in owners or ():
        if owner.controller and owner.kind and owner.name:
            return owner
    return None


class ObjectMeta(msgspec.Struct, rename="camel"):
    """The metadata that every decoder of an object needs."""

    name: str = ""
    generate_name: str = ""
    uid: str = ""


class Container(msgspec.Struct, rename="camel", gc=False):
    """A container, init container, native sidecar or ephemeral container."""

    name: str = ""
    image: str = ""
    image_pull_policy: str = ""


class ImageVolumeSource(msgspec.Struct, rename="camel", gc=False):
    """A volume that mounts an OCI image (Kubernetes documentation: Volumes, image)."""

    reference: str = ""
    pull_policy: str = ""


class Volume(msgspec.Struct, gc=False):
    """A volume; only image sources are read."""

    name: str = ""
    image: ImageVolumeSource | None = None


class PodTemplate(msgspec.Struct):
    """The template of the Pods that a workload's controller creates."""

    spec: Spec | None = None


class JobSpec(msgspec.Struct):
    """The spec of the Jobs that a CronJob creates."""

    template: PodTemplate | None = None


class JobTemplate(msgspec.Struct):
    """The template of the Jobs that a CronJob creates."""

    spec: JobSpec | None = None


class Spec(msgspec.Struct, rename="camel"):
    """A Pod's spec, with the two fields for the Pod templates of other kinds."""

    containers: list[Container] | None = None
    init_containers: list[Container] | None = None
    ephemeral_containers: list[Container] | None = None
    volumes: list[Volume] | None = None
    node_name: str = ""
    template: PodTemplate | None = None
    job_template: JobTemplate | None = None


class KubernetesObject(msgspec.Struct):
    """An object of any evaluated kind."""

    metadata: ObjectMeta | None = None
    spec: Spec | None = None
