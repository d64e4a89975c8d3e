"""Updates of Pods whose images are pinned: by ``kubectl apply``, ``set image`` and server-side apply."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.pinning import (
    API,
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
    pod,
    untrusted,
)
from tests.controlplane import ControlPlane

NAMESPACE = "pinning-updates"
KEPT = {"result": "kept"}


@pytest.fixture(scope="module")
def stage(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PinningCluster]:
    """Return a cluster whose webhook caches answers for a second."""
    folder = tmp_path_factory.mktemp("pinning-updates")
    with pinning_cluster(control_plane, folder, NAMESPACE, POLICY + SHORT_CACHE) as stage:
        yield stage


def apply(stage: PinningCluster, manifest: dict[str, Any], *arguments: str) -> str:
    """Apply a manifest and return kubectl's output."""
    return stage.kubectl("apply", "--filename=-", *arguments, stdin=manifest)


def apply_server_side(
    stage: PinningCluster, manifest: dict[str, Any], manager: str = "one", *arguments: str
) -> str:
    """Apply a manifest as a field manager and return kubectl's output."""
    return apply(stage, manifest, "--server-side", f"--field-manager={manager}", *arguments)


def whole(stage: PinningCluster, name: str) -> dict[str, Any]:
    """Return a Pod with its managed fields."""
    found: dict[str, Any] = stage.get("pod", name, "--show-managed-fields")
    return found


def move(stage: PinningCluster, image: str, character: str = "b", *, is_trusted: bool = True) -> str:
    """Move a tag, and wait until no answer about it is cached; return the image, pinned."""
    moved = stage.push(image, character, is_trusted=is_trusted)
    time.sleep(EXPIRY)
    return moved


# kubectl apply.


def test_manifest_applied_again_changes_nothing(stage: PinningCluster) -> None:
    """The manifest has no digest, so kubectl sends the tag, and the Pod keeps its digest."""
    before = stage.server.metric("swr_trust_pin_images_total", **KEPT)
    assert apply(stage, pod("same")) == "pod/same created"
    first = whole(stage, "same")
    assert first["spec"]["containers"][0]["image"] == PINNED_WEB
    assert apply(stage, pod("same")) == "pod/same configured"
    assert whole(stage, "same") == first
    stage.wait_for("the kept pin", "swr_trust_pin_images_total", before + 1, **KEPT)


def test_manifest_without_tag_applied_again_changes_nothing(stage: PinningCluster) -> None:
    """The stored image has the tag ``latest``, which the manifest does not name."""
    image = f"{HOST}/shop/implied"
    pinned = stage.push(f"{image}:latest", "a")
    apply(stage, pod("implied", image))
    first = whole(stage, "implied")
    assert first["spec"]["containers"][0]["image"] == pinned
    move(stage, f"{image}:latest")
    assert apply(stage, pod("implied", image)) == "pod/implied configured"
    assert whole(stage, "implied") == first


@pytest.mark.parametrize(
    ("name", "character", "is_trusted"),
    [("moved", "b", True), ("revoked", "a", False), ("moved-and-revoked", "b", False)],
)
def test_manifest_applied_again_keeps_digest_after_change_in_swr(
    stage: PinningCluster, name: str, character: str, is_trusted: bool
) -> None:
    """The update changes nothing, so SWR is not asked about it. A new Pod shows what SWR says now."""
    image = f"{HOST}/shop/{name}:1"
    pinned = stage.push(image, "a")
    apply(stage, pod(name, image))
    first = whole(stage, name)
    assert first["spec"]["containers"][0]["image"] == pinned
    now = move(stage, image, character, is_trusted=is_trusted)
    calls = stage.emulator.calls(f"repos/{name}/")
    assert apply(stage, pod(name, image)) == f"pod/{name} configured"
    assert whole(stage, name) == first
    assert stage.emulator.calls(f"repos/{name}/") == calls
    output = stage.run(f"{name}-new", image)
    assert output == (f"pod/{name}-new created" if is_trusted else untrusted(image))
    if is_trusted:
        assert stage.image(f"{name}-new") == now


def test_manifest_with_image_volume_applied_again_changes_nothing(stage: PinningCluster) -> None:
    """A volume cannot be changed, so the tag alone would be an invalid update."""
    image = f"{HOST}/shop/volume:1"
    pinned = stage.push(image, "a")
    manifest = pod("with-volume")
    manifest["spec"]["volumes"] = [{"name": "data", "image": {"reference": image}}]
    apply(stage, manifest)
    first = whole(stage, "with-volume")
    assert first["spec"]["volumes"][0]["image"]["reference"] == pinned
    move(stage, image)
    assert apply(stage, manifest) == "pod/with-volume configured"
    assert whole(stage, "with-volume") == first


def test_label_is_applied_beside_kept_digest(stage: PinningCluster) -> None:
    """The update changes the Pod, but not its image."""
    image = f"{HOST}/shop/labelled:1"
    pinned = stage.push(image, "a")
    manifest = pod("labelled", image)
    apply(stage, manifest)
    move(stage, image)
    manifest["metadata"]["labels"] = {"color": "green"}
    assert apply(stage, manifest) == "pod/labelled configured"
    found = stage.get("pod", "labelled")
    assert found["metadata"]["labels"] == {"color": "green"}
    assert found["spec"]["containers"][0]["image"] == pinned


def test_diff_of_unchanged_manifest_is_empty(stage: PinningCluster) -> None:
    """``kubectl diff`` is a dry run of the server, as of GitOps tools. The tag has been moved meanwhile."""
    image = f"{HOST}/shop/compared:1"
    stage.push(image, "a")
    apply(stage, pod("compared", image))
    move(stage, image)
    assert stage.kubectl("diff", "--filename=-", stdin=pod("compared", image)) == ""


# kubectl set image.


def test_other_trusted_tag_is_pinned(stage: PinningCluster) -> None:
    stage.run("updated", WEB)
    assert stage.kubectl("set", "image", "pod/updated", f"updated={API}") == "pod/updated image updated"
    assert stage.image("updated") == PINNED_API


def test_untrusted_tag_is_denied_and_pod_stays(stage: PinningCluster) -> None:
    stage.run("refused", WEB)
    before = whole(stage, "refused")
    output = stage.kubectl("set", "image", "pod/refused", f"refused={UNTRUSTED}")
    assert f'denied by image trust policy: spec.containers[0].image "{UNTRUSTED}": SWR does not' in output
    assert whole(stage, "refused") == before


def test_patch_of_one_image_leaves_other_pin(stage: PinningCluster) -> None:
    """Only the changed image is looked up, although the other tag has been moved."""
    image = f"{HOST}/shop/beside:1"
    pinned = stage.push(image, "a")
    stage.create("beside", containers=[{"name": "main", "image": image}, {"name": "other", "image": WEB}])
    move(stage, image)
    stage.kubectl("set", "image", "pod/beside", f"other={API}")
    images = [container["image"] for container in stage.get("pod", "beside")["spec"]["containers"]]
    assert images == [pinned, PINNED_API]


# kubectl debug.


def test_second_debug_container_leaves_pin_of_first(stage: PinningCluster) -> None:
    """The API server refuses a change of an existing ephemeral container. The tag has been moved meanwhile."""
    image = f"{HOST}/shop/debug:1"
    first = stage.push(image, "a")
    stage.run("debugged", WEB)
    stage.kubectl("debug", "debugged", f"--image={image}", "--container=first")
    second = move(stage, image)
    stage.kubectl("debug", "debugged", f"--image={image}", "--container=second")
    containers = stage.get("pod", "debugged")["spec"]["ephemeralContainers"]
    assert [(container["name"], container["image"]) for container in containers] == [
        ("first", first),
        ("second", second),
    ]


def test_copy_of_pod_whose_tag_has_moved_is_denied(stage: PinningCluster) -> None:
    """The copy is a new Pod, and it has the digest of the old one."""
    image = f"{HOST}/shop/copied:1"
    pinned = stage.push(image, "a")
    stage.run("copied", image)
    copy = ("debug", "copied", "--attach=false", f"--image={WEB}")
    assert "denied" not in stage.kubectl(*copy, "--copy-to=early")
    assert stage.image("early") == pinned
    move(stage, image)
    assert stage.kubectl(*copy, "--copy-to=late").endswith(
        f'spec.containers[0].image "{pinned}": the pinned digest is not the digest of this tag in SWR. '
        "If you wrote the tag alone, it has just been moved: try again. "
        "Otherwise pin the digest that SWR shows for the tag."
    )


# Server-side apply.


def owners(found: dict[str, Any], field: str = "f:image") -> dict[str, str]:
    """Return the managers that own a field of the first container, with their operations."""
    key = 'k:{"name":"main"}'
    return {
        entry["manager"]: entry["operation"]
        for entry in found["metadata"]["managedFields"]
        if field in entry["fieldsV1"].get("f:spec", {}).get("f:containers", {}).get(key, {})
    }


def test_manager_that_applies_again_changes_nothing(stage: PinningCluster) -> None:
    """It still owns the image, without a conflict. The tag has been moved meanwhile."""
    image = f"{HOST}/shop/managed:1"
    pinned = stage.push(image, "a")
    assert apply_server_side(stage, pod("managed", image)) == "pod/managed serverside-applied"
    first = whole(stage, "managed")
    assert first["spec"]["containers"][0]["image"] == pinned
    assert owners(first) == {"one": "Apply"}
    move(stage, image)
    assert apply_server_side(stage, pod("managed", image)) == "pod/managed serverside-applied"
    assert whole(stage, "managed") == first


def conflict(manager: str) -> str:
    """Return the conflict about the image with a manager."""
    return (
        f'error: Apply failed with 1 conflict: conflict with "{manager}": '
        '.spec.containers[name="main"].image\n'
        "Please review the fields above--they currently have other managers."
    )


@pytest.mark.parametrize(("name", "image"), [("other-image", API), ("same-tag", WEB)])
def test_second_manager_gets_conflict_about_image(stage: PinningCluster, name: str, image: str) -> None:
    """With the same tag, too: the value of the field is the tag and its digest."""
    apply_server_side(stage, pod(name))
    first = whole(stage, name)
    assert apply_server_side(stage, pod(name, image), "two").startswith(conflict("one"))
    assert whole(stage, name) == first


def test_second_manager_shares_pinned_image(stage: PinningCluster) -> None:
    """It applies the value of the field, so there is no conflict, and both own it. The first one then has a
    conflict, because the tag alone is another value.
    """
    apply_server_side(stage, pod("shared"))
    assert apply_server_side(stage, pod("shared", PINNED_WEB), "two") == "pod/shared serverside-applied"
    found = whole(stage, "shared")
    assert found["spec"]["containers"][0]["image"] == PINNED_WEB
    assert owners(found) == {"one": "Apply", "two": "Apply"}
    assert apply_server_side(stage, pod("shared")).startswith(conflict("two"))
    assert whole(stage, "shared") == found


def test_second_manager_that_forces_same_tag_keeps_digest(stage: PinningCluster) -> None:
    """It takes the field over. The tag has been moved meanwhile."""
    image = f"{HOST}/shop/forced:1"
    pinned = stage.push(image, "a")
    apply_server_side(stage, pod("forced", image))
    move(stage, image)
    forced = apply_server_side(stage, pod("forced", image), "two", "--force-conflicts")
    assert forced == "pod/forced serverside-applied"
    found = whole(stage, "forced")
    assert found["spec"]["containers"][0]["image"] == pinned
    assert owners(found) == {"two": "Apply"}


def test_manager_of_other_fields_does_not_touch_image(stage: PinningCluster) -> None:
    apply_server_side(stage, pod("annotated"))
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "annotated", "labels": {"a": "b"}}}
    assert apply_server_side(stage, manifest, "two") == "pod/annotated serverside-applied"
    found = whole(stage, "annotated")
    assert found["spec"]["containers"][0]["image"] == PINNED_WEB
    assert owners(found) == {"one": "Apply"}


def test_manager_that_applies_other_tag_gets_its_digest(stage: PinningCluster) -> None:
    apply_server_side(stage, pod("advanced"))
    assert apply_server_side(stage, pod("advanced", API)) == "pod/advanced serverside-applied"
    found = whole(stage, "advanced")
    assert found["spec"]["containers"][0]["image"] == PINNED_API
    assert owners(found) == {"one": "Apply"}


def test_apply_as_dry_run_shows_digest(stage: PinningCluster) -> None:
    manifest = pod("imagined")
    shown = json.loads(apply_server_side(stage, manifest, "one", "--dry-run=server", "--output=json"))
    assert shown["spec"]["containers"][0]["image"] == PINNED_WEB
    assert "NotFound" in stage.kubectl("get", "pod", "imagined")
