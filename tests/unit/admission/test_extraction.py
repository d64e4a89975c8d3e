"""Extraction of the images of an object, and which of them are evaluated."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.builders import container, pod, request
from webhook.admission.extraction import (
    WORKLOADS,
    ImageUse,
    TargetKind,
    changed_images,
    classify,
    extract_images,
    shorten,
)
from webhook.errors import InvalidReferenceError
from webhook.images.reference import parse_reference

DEPLOYMENTS = ("apps", "v1", "deployments")

CLASSES: list[tuple[str, dict[str, Any], TargetKind]] = [
    ("a Pod is created", {}, TargetKind.POD),
    ("a Pod is updated", {"operation": "UPDATE"}, TargetKind.POD),
    ("kubectl debug", {"operation": "UPDATE", "subresource": "ephemeralcontainers"}, TargetKind.POD),
    ("a Pod is deleted", {"operation": "DELETE"}, TargetKind.IGNORED),
    ("kubectl exec", {"operation": "CONNECT", "subresource": "exec"}, TargetKind.IGNORED),
    ("status", {"operation": "UPDATE", "subresource": "status"}, TargetKind.IGNORED),
    ("resize", {"operation": "UPDATE", "subresource": "resize"}, TargetKind.IGNORED),
    ("binding", {"subresource": "binding"}, TargetKind.IGNORED),
    ("eviction", {"subresource": "eviction"}, TargetKind.IGNORED),
    (
        "scale",
        {"resource": DEPLOYMENTS, "kind": "Scale", "subresource": "scale", "operation": "UPDATE"},
        TargetKind.IGNORED,
    ),
    (
        "a subresource of tomorrow",
        {"operation": "UPDATE", "subresource": "newcontainers"},
        TargetKind.UNKNOWN,
    ),
    ("an operation of tomorrow", {"operation": "PATCH"}, TargetKind.UNKNOWN),
    ("an operation in lower case", {"operation": "delete"}, TargetKind.UNKNOWN),
    ("a version of tomorrow", {"resource": ("", "v2", "pods")}, TargetKind.UNKNOWN),
    ("another group's pods", {"resource": ("example.com", "v1", "pods")}, TargetKind.UNKNOWN),
    ("a kind that is no Pod", {"kind": "PodTemplate"}, TargetKind.UNKNOWN),
    ("a PodTemplate", {"resource": ("", "v1", "podtemplates"), "kind": "PodTemplate"}, TargetKind.UNKNOWN),
    (
        "a CloneSet",
        {"resource": ("apps.kruise.io", "v1", "clonesets"), "kind": "CloneSet"},
        TargetKind.UNKNOWN,
    ),
    (
        "a Deployment's unknown subresource",
        {"resource": DEPLOYMENTS, "kind": "Deployment", "subresource": "x"},
        TargetKind.UNKNOWN,
    ),
    *(
        (f"a {kind}", {"resource": (group, "v1", plural), "kind": kind}, TargetKind.WORKLOAD)
        for (group, plural), kind in WORKLOADS.items()
    ),
]


@pytest.mark.parametrize(
    ("arguments", "subject"), [case[1:] for case in CLASSES], ids=[case[0] for case in CLASSES]
)
def test_requests_are_classified(arguments: dict[str, Any], subject: TargetKind) -> None:
    """Known harmless requests are ignored, unknown ones are reported as unknown."""
    assert classify(request(pod("a:1"), **arguments)) is subject


MIRROR: dict[str, Any] = {"user": "system:node:n1", "groups": ["system:nodes"]}
MIRROR_CASES: list[tuple[str, dict[str, Any], dict[str, str], str, TargetKind]] = [
    ("its own node", MIRROR, {"kubernetes.io/config.mirror": "x"}, "n1", TargetKind.MIRROR_POD),
    ("another node", MIRROR, {"kubernetes.io/config.mirror": "x"}, "n2", TargetKind.POD),
    ("no node", {**MIRROR, "user": "system:node:"}, {"kubernetes.io/config.mirror": "x"}, "", TargetKind.POD),
    (
        "not in the group",
        {**MIRROR, "groups": []},
        {"kubernetes.io/config.mirror": "x"},
        "n1",
        TargetKind.POD,
    ),
    ("a person", {"user": "dev"}, {"kubernetes.io/config.mirror": "x"}, "n1", TargetKind.POD),
    ("no annotation", MIRROR, {}, "n1", TargetKind.POD),
    (
        "an update",
        {**MIRROR, "operation": "UPDATE"},
        {"kubernetes.io/config.mirror": "x"},
        "n1",
        TargetKind.POD,
    ),
]


@pytest.mark.parametrize(
    ("who", "annotations", "node", "subject"),
    [case[1:] for case in MIRROR_CASES],
    ids=[case[0] for case in MIRROR_CASES],
)
def test_mirror_pod_is_accepted_from_its_own_node_only(
    who: dict[str, Any], annotations: dict[str, str], node: str, subject: TargetKind
) -> None:
    """The mirror annotation counts only from the node that runs the static Pod (T18)."""
    obj = pod("a:1", nodeName=node)
    obj["metadata"]["annotations"] = annotations
    assert classify(request(obj, **who)) is subject


def fields(
    obj: dict[str, Any], subject: TargetKind = TargetKind.POD, kind: str = "Pod"
) -> list[tuple[str, str]]:
    """Return field and image of every use in an object."""
    uses = extract_images(subject, kind, request(obj).object)
    return [(use.field, use.image) for use in uses or []]


def test_images_are_extracted_from_four_places_of_pod() -> None:
    """Containers, init containers with native sidecars, ephemeral containers, image volumes (T01-T05)."""
    obj = pod(
        "a:1",
        initContainers=[container("b:1"), container("c:1", restartPolicy="Always")],
        ephemeralContainers=[container("d:1")],
        volumes=[{"name": "tmp", "emptyDir": {}}, {"name": "model", "image": {"reference": "e:1"}}],
    )
    assert fields(obj) == [
        ("spec.containers[0].image", "a:1"),
        ("spec.initContainers[0].image", "b:1"),
        ("spec.initContainers[1].image", "c:1"),
        ("spec.ephemeralContainers[0].image", "d:1"),
        ("spec.volumes[1].image.reference", "e:1"),
    ]


def test_images_are_extracted_from_same_places_of_template() -> None:
    """The fields of a workload are named as its author wrote them."""
    obj = {
        "spec": {
            "replicas": 0,
            "template": {"spec": pod("a:1", volumes=[{"name": "m", "image": {"reference": "b:1"}}])["spec"]},
        }
    }
    assert fields(obj, TargetKind.WORKLOAD, "Deployment") == [
        ("spec.template.spec.containers[0].image", "a:1"),
        ("spec.template.spec.volumes[0].image.reference", "b:1"),
    ]


def test_images_are_extracted_from_cron_job_template() -> None:
    """The Pod template of a CronJob is below its job template."""
    obj = {"spec": {"jobTemplate": {"spec": {"template": {"spec": pod("a:1")["spec"]}}}}}
    assert fields(obj, TargetKind.WORKLOAD, "CronJob") == [
        ("spec.jobTemplate.spec.template.spec.containers[0].image", "a:1")
    ]


@pytest.mark.parametrize(
    "obj", [None, {}, {"spec": None}, {"spec": {"template": None}}, {"spec": {"template": {}}}]
)
def test_workload_without_pod_spec_is_not_read_as_without_images(obj: Any) -> None:
    """A missing Pod spec differs from a Pod spec without images."""
    assert extract_images(TargetKind.WORKLOAD, "Deployment", request(obj).object) is None


def changed(new: dict[str, Any], old: dict[str, Any] | None) -> list[str]:
    """Return the fields of an update whose images are evaluated."""
    decoded = request(new, old=old, operation="UPDATE")
    uses = extract_images(TargetKind.POD, "Pod", decoded.object)
    assert uses is not None
    return [
        use.field for use in changed_images(uses, extract_images(TargetKind.POD, "Pod", decoded.old_object))
    ]


def test_update_without_new_image_has_no_changed_images() -> None:
    """A finalizer or a label can be changed on a Pod whose image has lost its trust (T07)."""
    assert changed(pod("a:1", hostname="new"), pod("a:1")) == []


def test_only_added_container_is_evaluated() -> None:
    """A debug container is evaluated, the existing containers are not (T04)."""
    new = pod("a:1", ephemeralContainers=[container("d:1", "debug")])
    assert changed(new, pod("a:1")) == ["spec.ephemeralContainers[0].image"]


def test_changed_image_is_evaluated() -> None:
    """The same container with another image is a changed use (T06)."""
    assert changed(pod("a:1", "b:2"), pod("a:1", "b:1")) == ["spec.containers[1].image"]


def test_swapped_images_are_evaluated() -> None:
    """An image that another container had is new to this one: uses are keyed by list and name."""
    assert changed(pod("b:1", "a:1"), pod("a:1", "b:1")) == [
        "spec.containers[0].image",
        "spec.containers[1].image",
    ]


def test_container_moved_to_another_list_is_evaluated() -> None:
    """The key contains the list: the image of an init container is not the image of a container."""
    old = pod(initContainers=[container("a:1", "x")])
    new = pod(ephemeralContainers=[container("a:1", "x")])
    assert changed(new, old) == ["spec.ephemeralContainers[0].image"]


def test_duplicate_name_in_old_object_does_not_count_as_unchanged() -> None:
    """Two old containers with one name do not make a new one unchanged."""
    old = pod(initContainers=[container("a:1", "x"), container("b:1", "x")])
    assert changed(pod(initContainers=[container("a:1", "x")]), old) == ["spec.initContainers[0].image"]


@pytest.mark.parametrize("old", [None, {"spec": {"containers": 5}}, {}])
def test_all_images_without_old_object_are_evaluated(old: Any) -> None:
    """With an absent or unreadable old object every use is new."""
    assert changed(pod("a:1"), old) == ["spec.containers[0].image"]


def test_pod_in_deletion_is_evaluated_for_changed_images_only() -> None:
    """With a deletion timestamp, a changed image is evaluated and an unchanged one is not (T09)."""
    dying = pod("b:1")
    dying["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert changed(dying, pod("a:1")) == ["spec.containers[0].image"]
    assert changed(dying, pod("b:1")) == []


def is_reference(image: str) -> bool:
    """Return whether a node could run an image of this name."""
    try:
        parse_reference(image)
    except InvalidReferenceError:
        return False
    return True


LONGEST = "r.io/" + "a" * 250 + ":" + "t" * 128 + "@sha256:" + "0" * 64
"""The longest possible reference."""


@pytest.mark.parametrize(
    ("image", "shortened"),
    [
        (LONGEST, LONGEST),
        (LONGEST + "x" * 1000, LONGEST + "x" * (512 - len(LONGEST))),
        ("a:1\u200b", "a:1\u200b"),
        ("a" * 100 + "\u00e9" + "b" * 100, "a" * 50 + "\u2026" + "b" * 50),
        ("a" * 512 + "\u00e9", "a" * 512),
    ],
)
def test_overlong_image_is_shortened_to_identifiable_part(image: str, shortened: str) -> None:
    """Fault C2: text that no image can have is not kept while a review waits; a possible image is kept
    whole.
    """
    use = ImageUse("f", ("containers", "c"), image, "Always", template=True)
    assert shorten(use) == ImageUse("f", ("containers", "c"), shortened, "Always", template=True)
    assert is_reference(image) == is_reference(shortened)


some = st.text(max_size=3) | st.text("a:@/\u00e9\u2026", max_size=3)


@example("", 100, "\u00e9", 100, "")  # random examples rarely need to be shortened
@given(some, st.integers(0, 300), some, st.integers(0, 300), some)
def test_shortening_does_not_create_valid_reference(
    start: str, more: int, middle: str, most: int, end: str
) -> None:
    """Fault C2: no image is evaluated under another name than that of the Pod."""
    image = start + "a" * more + middle + "b" * most + end
    shortened = shorten(ImageUse("f", ("containers", "c"), image)).image
    assert is_reference(image) == is_reference(shortened)
