"""Pinning beside other mutating webhooks, beside a tag that moves, and with several replicas.

The API server calls mutating webhooks in the alphabetical order of their configurations. It calls a webhook
with ``reinvocationPolicy: IfNeeded`` again, once, if a later one has changed the object.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.foreign import Answer, ForeignWebhook, patch
from tests.cluster.pinning import (
    API,
    DENIED,
    EXPIRY,
    HOST,
    PINNED_API,
    PINNED_WEB,
    POLICY,
    SHORT_CACHE,
    UNTRUSTED,
    WEB,
    PinningCluster,
    pinning_cluster,
    registered,
    untrusted,
)
from tests.controlplane import ControlPlane
from tests.emulator.server import Emulator
from tests.support.serving import ServerProcess, make_certificate

NAMESPACE = "pinning-beside"
REPLICAS = "pinning-replicas"
FIRST_IMAGE = "/spec/containers/0/image"
UNPINNED = "swr_trust_unpinned_images_total"


@pytest.fixture(scope="module")
def stage(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PinningCluster]:
    """Return a cluster whose webhook caches answers for a second."""
    folder = tmp_path_factory.mktemp("pinning-beside")
    with pinning_cluster(control_plane, folder, NAMESPACE, POLICY + SHORT_CACHE) as stage:
        yield stage


class Register:
    """Registers other mutating webhooks until the test ends."""

    def __init__(self, stage: PinningCluster, folder: Path, entered: ExitStack) -> None:
        self._stage = stage
        self._folder = folder
        self._entered = entered

    def __call__(self, name: str, answer: Answer, **settings: Any) -> ForeignWebhook:
        namespace = self._stage.namespace
        webhook = ForeignWebhook(
            self._stage.cluster, self._folder, name, "Mutating", namespace, answer, **settings
        )
        return self._entered.enter_context(webhook)


@pytest.fixture
def register(stage: PinningCluster, tmp_path: Path) -> Iterator[Register]:
    """Remove all registrations after the test."""
    with ExitStack() as entered:
        yield Register(stage, tmp_path, entered)


def images(stage: PinningCluster, name: str, section: str = "containers") -> list[str]:
    """Return the images of a section of a Pod."""
    return [container["image"] for container in stage.get("pod", name)["spec"][section]]


def adding(section: str, image: str) -> Answer:
    """Return a webhook that adds a container, once."""

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        present = request["object"]["spec"].get(section, [])
        if any(container["name"] == "added" for container in present):
            return {"allowed": True}
        container = {"name": "added", "image": image}
        if present:
            return patch({"op": "add", "path": f"/spec/{section}/-", "value": container})
        return patch({"op": "add", "path": f"/spec/{section}", "value": [container]})

    return answer


def rewriting(image: str) -> Answer:
    """Return a webhook that gives the first container another image."""

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        if request["object"]["spec"]["containers"][0]["image"] == image:
            return {"allowed": True}
        return patch({"op": "replace", "path": FIRST_IMAGE, "value": image})

    return answer


@pytest.mark.parametrize("section", ["containers", "initContainers"])
@pytest.mark.parametrize("order", ["a", "z"], ids=["before", "after"])
def test_sidecar_added_by_other_webhook_is_pinned(
    stage: PinningCluster, register: Register, order: str, section: str
) -> None:
    """Service meshes do this. After ours, it is pinned because ours is called again."""
    register(f"{order}-adding", adding(section, API))
    name = f"meshed-{order}-{section.lower()}"
    assert stage.run(name, WEB) == f"pod/{name} created"
    assert images(stage, name)[0] == PINNED_WEB
    assert images(stage, name, section)[-1] == PINNED_API


def test_container_added_at_the_front_does_not_move_pins(stage: PinningCluster, register: Register) -> None:
    """Between our two calls, the pinned container gets another index."""

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        del request
        container = {"name": "front", "image": API}
        return patch({"op": "add", "path": "/spec/containers/0", "value": container})

    register("z-adding-in-front", answer)
    assert stage.run("shifted", WEB) == "pod/shifted created"
    assert images(stage, "shifted") == [PINNED_API, PINNED_WEB]


@pytest.mark.parametrize("order", ["a", "z"], ids=["before", "after"])
def test_untrusted_image_written_by_other_webhook_is_denied(
    stage: PinningCluster, register: Register, order: str
) -> None:
    """A pin of ours does not protect the image against a later change, and /validate sees the change."""
    register(f"{order}-rewriting", rewriting(UNTRUSTED))
    assert stage.run(f"rewritten-{order}", WEB) == untrusted(UNTRUSTED)


def test_digest_replaced_by_other_webhook_is_denied(stage: PinningCluster, register: Register) -> None:
    """The digest of another trusted tag is not the digest of this one."""
    other = f"{WEB}@{PINNED_API.partition('@')[2]}"
    register("z-swapping", rewriting(other))
    assert stage.run("swapped", WEB).startswith(
        f'{DENIED}spec.containers[0].image "{other}": the pinned digest is not the digest of this tag in SWR.'
    )


@pytest.mark.parametrize("order", ["a", "z"], ids=["before", "after"])
def test_trusted_tag_written_by_other_webhook_is_pinned(
    stage: PinningCluster, register: Register, order: str
) -> None:
    """Some webhooks redirect images to a mirror. After ours, it is pinned because ours is called again."""
    register(f"{order}-mirroring", rewriting(API))
    name = f"mirrored-{order}"
    assert stage.run(name, WEB) == f"pod/{name} created"
    assert images(stage, name) == [PINNED_API]


def test_tag_that_other_webhook_insists_on_is_admitted_and_counted(
    stage: PinningCluster, register: Register
) -> None:
    """It is called again, too, and last: it removes the digest twice, and the trusted tag runs by tag."""
    other = register("z-insisting", rewriting(API), reinvocationPolicy="IfNeeded")
    before = stage.server.metric(UNPINNED)
    assert stage.run("insisted", WEB) == "pod/insisted created"
    assert images(stage, "insisted") == [API]
    seen = [
        one["object"]["spec"]["containers"][0]["image"] for one in other.requests if one["name"] == "insisted"
    ]
    assert seen == [PINNED_WEB, PINNED_API]
    stage.wait_for("the image to be counted", UNPINNED, before + 1)


def test_tag_moved_between_mutation_and_validation_is_denied_once(
    stage: PinningCluster, register: Register
) -> None:
    """The webhook's own answer is older than its cache by then, so it asks SWR again."""
    image = f"{HOST}/shop/moving:1"
    old = stage.push(image, "a")
    moved: list[str] = []

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        if request["name"] == "moving" and not moved:
            moved.append(stage.push(image, "b"))
            time.sleep(EXPIRY)
        return {"allowed": True}

    register("z-moving", answer)
    assert stage.run("moving", image) == (
        f'{DENIED}spec.containers[0].image "{old}": the pinned digest is not the digest of this tag in SWR. '
        "If you wrote the tag alone, it has just been moved: try again. "
        "Otherwise pin the digest that SWR shows for the tag."
    )
    assert stage.run("moving", image) == "pod/moving created"
    assert images(stage, "moving") == moved


def test_tag_whose_trust_is_revoked_between_mutation_and_validation_is_denied(
    stage: PinningCluster, register: Register
) -> None:
    image = f"{HOST}/shop/revoked:1"
    pinned = stage.push(image, "a")

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        if request["name"] == "revoked":
            stage.push(image, "a", is_trusted=False)
            time.sleep(EXPIRY)
        return {"allowed": True}

    register("z-revoking", answer)
    assert stage.run("revoked", image) == untrusted(pinned)


def test_each_replica_asks_swr_once(control_plane: ControlPlane, tmp_path: Path) -> None:
    """One replica pins and the other validates. Neither queries SWR for the second Pod, as long as the digest
    is not older than ``cache.pinned``.
    """
    policy = f"{POLICY}cache: {{pinned: 1m}}\n"
    control_plane.make_namespace(REPLICAS)
    certificate = make_certificate(tmp_path)
    folders = tmp_path / "mutating", tmp_path / "validating"
    for folder in folders:
        folder.mkdir()
    image = f"{HOST}/shop/shared:1"
    with Emulator() as emulator:
        first, second = (ServerProcess(folder, emulator.url, certificate, policy) for folder in folders)
        with first, second, registered(control_plane, first, second, REPLICAS):
            stage = PinningCluster(control_plane, first, emulator, REPLICAS)
            pinned = stage.push(image, "a")
            assert stage.run("shared-1", image) == "pod/shared-1 created"
            assert stage.image("shared-1") == pinned
            assert emulator.calls("repos/shared/") == 2
            assert stage.run("shared-2", image) == "pod/shared-2 created"
            assert stage.image("shared-2") == pinned
            assert emulator.calls("repos/shared/") == 2
            assert second.metric("swr_trust_mutation_requests_total") == 0
