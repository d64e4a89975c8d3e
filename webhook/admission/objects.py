"""The parts of Kubernetes objects that matter here, as typed structures.

One superset of shapes serves a Pod and every kind that holds a Pod template, so that a whole
AdmissionReview is decoded into typed structures in a single pass; unknown fields are skipped, so
that a newer API does not break us. Which part of the superset is read is decided by the resource
of the request (``webhook.admission.extraction``), never by what the object says of itself.

``null`` is accepted wherever the API server may write it for an empty list, map or struct.
"""

from __future__ import annotations

import msgspec


class OwnerReference(msgspec.Struct, rename="camel", gc=False):
    """Who created an object, by its own word: for Events only, it never makes anything trusted."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None


class ObjectMeta(msgspec.Struct, rename="camel"):
    """The metadata that every reader of an object needs."""

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
    """A volume; every other source than an image is of no interest."""

    name: str = ""
    image: ImageVolumeSource | None = None


class PodTemplate(msgspec.Struct):
    """The Pod that a workload's controller will create."""

    spec: Spec | None = None


class JobSpec(msgspec.Struct):
    """The Job that a CronJob will create."""

    template: PodTemplate | None = None


class JobTemplate(msgspec.Struct):
    """The wrapper around a CronJob's Job."""

    spec: JobSpec | None = None


class Spec(msgspec.Struct, rename="camel"):
    """A Pod's spec, and the two places where other kinds keep theirs."""

    containers: list[Container] | None = None
    init_containers: list[Container] | None = None
    ephemeral_containers: list[Container] | None = None
    volumes: list[Volume] | None = None
    node_name: str = ""
    template: PodTemplate | None = None
    job_template: JobTemplate | None = None


class KubernetesObject(msgspec.Struct):
    """An object of any kind that is judged."""

    metadata: ObjectMeta | None = None
    spec: Spec | None = None
