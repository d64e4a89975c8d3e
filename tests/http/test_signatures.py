"""Images that are trusted by their signatures, judged by the installed webhook."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.emulator.server import SEED, Emulator
from tests.emulator.signing import generate_key
from tests.emulator.state import State
from tests.support.builders import pod, review
from tests.support.json_patch import patch_of
from tests.support.serving import Certificate, ServerProcess, make_certificate
from tests.support.signed import ENTERPRISE, HOST, SigningKeys, write_signed_policy

pytestmark = pytest.mark.slow

SIGNED = f"{HOST}/signed/web:1"
PREFIX = 'denied by image trust policy: spec.containers[0].image "'


class Site:
    """A running webhook, the emulator behind it, and the keys."""

    def __init__(self, server: ServerProcess, emulator: Emulator, keys: SigningKeys) -> None:
        self.server = server
        self.emulator = emulator
        self.keys = keys

    def push(self, image: str, **values: Any) -> str:
        """Push an image to registry and API; return its digest."""
        return self.emulator.state.put_image(image, **values)

    def sign(self, image: str, digest: str, key: str = "release") -> None:
        """Sign an image by the format of cosign 2."""
        repository = image.partition(":")[0]
        self.emulator.state.sign_simple(repository, digest, self.keys[key])

    def denial(self, image: str) -> str:
        """Return the message of a denial, empty if the Pod is admitted."""
        response = self.server.validate(review(pod(image)))
        return "" if response["allowed"] else str(response["status"]["message"])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def site(tmp_path: Path, certificate: Certificate) -> Iterator[Site]:
    """A webhook whose records of tags live a second."""
    with Emulator(State.load(SEED)) as emulator:
        keys = SigningKeys(tmp_path, "release", "security")
        server = ServerProcess(tmp_path, emulator.url, certificate)
        write_signed_policy(server, emulator, keys, "cache: {trusted: 1s, refused: 1s}\n")
        with server:
            yield Site(server, emulator, keys)


def wait_until(condition: Callable[[], bool], seconds: float = 15.0) -> bool:
    """Return whether the condition becomes true in time."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if condition():
            return True
        time.sleep(0.1)
    return False


def test_signed_image_is_admitted_although_it_is_not_marked(site: Site) -> None:
    digest = site.push("signed/web:1", is_trusted=False)
    site.sign("signed/web:1", digest)
    assert site.denial(SIGNED) == ""
    assert site.denial(f"{SIGNED}@{digest}") == ""


def test_unsigned_image_is_denied_although_it_is_marked(site: Site) -> None:
    site.push("signed/web:1", is_trusted=True)
    assert site.denial(SIGNED) == (
        f'{PREFIX}{SIGNED}": the image is not signed. '
        "Sign it with one of the keys release, security, then try again."
    )


def test_image_signed_by_a_stranger_is_denied(site: Site) -> None:
    digest = site.push("signed/web:1")
    site.emulator.state.sign_simple("signed/web", digest, generate_key())
    site.emulator.state.sign_bundle("signed/web", digest, generate_key())
    assert "the image has signatures, but none that counts in this cluster" in site.denial(SIGNED)


def test_image_is_admitted_once_it_is_signed(site: Site) -> None:
    """A push comes before its signature; a denial is cached for ``cache.refused`` only."""
    digest = site.push("signed/web:1")
    assert site.denial(SIGNED)
    site.sign("signed/web:1", digest)
    assert wait_until(lambda: not site.denial(SIGNED))


def test_tag_that_moves_to_an_unsigned_image_is_denied(site: Site) -> None:
    site.sign("signed/web:1", site.push("signed/web:1"))
    assert site.denial(SIGNED) == ""
    site.emulator.state.registry.repositories["signed/web"].tags.clear()
    unsigned = site.emulator.state.registry.put_image("signed/web", "1", size=7)
    site.emulator.state.set_tag("signed/web:1", digest=unsigned)
    assert wait_until(lambda: "is not signed" in site.denial(SIGNED))


def test_both_needs_the_mark_and_a_signature(site: Site) -> None:
    image = f"{HOST}/double/web:1"
    digest = site.push("double/web:1", is_trusted=False)
    assert "SWR does not mark this tag as trusted" in site.denial(image)
    site.sign("double/web:1", digest)
    assert "SWR does not mark this tag as trusted" in site.denial(image)
    site.emulator.state.set_tag("double/web:1", is_trusted=True)
    assert wait_until(lambda: not site.denial(image))


@pytest.mark.parametrize("named", ["tag", "tag and digest", "digest"])
def test_enterprise_image_is_judged_by_bundles(site: Site, named: str) -> None:
    """Signed by the format of cosign 3. SWR's API is not called."""
    digest = site.push("team/web:1")
    other = site.push("team/web:2")
    site.emulator.state.sign_bundle("team/web", digest, site.keys["security"])
    forms = {
        "tag": (f"{ENTERPRISE}/team/web:1", f"{ENTERPRISE}/team/web:2"),
        "tag and digest": (f"{ENTERPRISE}/team/web:1@{digest}", f"{ENTERPRISE}/team/web:2@{other}"),
        "digest": (f"{ENTERPRISE}/team/web@{digest}", f"{ENTERPRISE}/team/web@{other}"),
    }
    signed, unsigned = forms[named]
    assert site.denial(signed) == ""
    assert "the image is not signed" in site.denial(unsigned)
    assert site.emulator.calls("/v2/manage") == 0


def test_enterprise_digest_must_be_that_of_the_tag(site: Site) -> None:
    first, second = site.push("team/web:1"), site.push("team/web:2")
    for digest in (first, second):
        site.emulator.state.sign_bundle("team/web", digest, site.keys["release"])
    assert "the pinned digest is not the digest of this tag" in site.denial(
        f"{ENTERPRISE}/team/web:1@{second}"
    )


def test_enterprise_tag_that_does_not_exist_is_denied(site: Site) -> None:
    assert "tag does not exist" in site.denial(f"{ENTERPRISE}/team/web:9")


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_key_that_goes_counts_no_longer(site: Site, how: str) -> None:
    """Within the interval in which files are read, although the digest is cached as signed for an hour."""
    site.sign("signed/web:1", site.push("signed/web:1"))
    assert site.denial(SIGNED) == ""
    if how == "removed":
        site.keys.file("release").unlink()
    else:
        site.keys.replace("release")
    assert wait_until(lambda: "none that counts in this cluster" in site.denial(SIGNED))


def test_other_keys_count_while_one_is_away(site: Site) -> None:
    site.sign("signed/web:1", site.push("signed/web:1"), "security")
    site.keys.file("release").unlink()
    assert wait_until(lambda: b"signing key release: does not count" in site.server.get("/readyz?verbose")[1])
    assert site.denial(SIGNED) == ""


def test_signed_image_is_admitted_while_the_registry_is_away(site: Site) -> None:
    """That its digest is signed is cached for an hour; the tag is still looked up."""
    site.sign("signed/web:1", site.push("signed/web:1"))
    assert site.denial(SIGNED) == ""
    site.emulator.break_with("reset", match="/v2/signed/")
    time.sleep(1.1)
    assert site.denial(SIGNED) == ""


@pytest.mark.parametrize(
    ("kind", "values"),
    [("status", {"status": 503}), ("reset", {}), ("hang", {})],
    ids=["5xx", "reset", "hang"],
)
def test_stale_trust_is_served_while_no_manifest_can_be_read(
    site: Site, kind: str, values: dict[str, Any]
) -> None:
    """The front end answers ``GET /v2/`` and issues tokens all the time."""
    image = f"{ENTERPRISE}/team/web:1"
    site.emulator.state.sign_bundle("team/web", site.push("team/web:1"), site.keys["release"])
    assert site.denial(image) == ""
    site.emulator.break_with(kind, match="/manifests/", **values)
    time.sleep(1.1)
    assert site.denial(image) == ""
    assert site.server.metric("swr_trust_cache_requests_total", result="stale") == 1


@pytest.mark.parametrize(
    ("kind", "values"),
    [("status", {"status": 503}), ("reset", {}), ("hang", {})],
    ids=["5xx", "reset", "hang"],
)
def test_stale_trust_is_not_served_if_manifests_of_one_image_fail(
    site: Site, kind: str, values: dict[str, Any]
) -> None:
    """Its author may be the cause."""
    image = f"{ENTERPRISE}/team/web:1"
    site.emulator.state.sign_bundle("team/web", site.push("team/web:1"), site.keys["release"])
    assert site.denial(image) == ""
    site.emulator.break_with(kind, match="/v2/team/web/manifests/", **values)
    time.sleep(1.1)
    assert site.denial(image)
    assert site.server.metric("swr_trust_cache_requests_total", result="stale") == 0


def test_image_whose_signatures_cannot_be_read_is_denied(site: Site) -> None:
    digest = site.push("signed/web:1")
    site.sign("signed/web:1", digest)
    site.emulator.break_with("status", status=503, match="/v2/")
    assert "trust is not known" in site.denial(SIGNED)


def test_signers_are_in_the_log_and_the_probe_knows_the_registry(site: Site) -> None:
    site.sign("signed/web:1", site.push("signed/web:1"))
    assert site.denial(SIGNED) == ""
    assert (
        b"registry API swr.cn-north-4.myhuaweicloud.com: last answered"
        in site.server.get("/readyz?verbose")[1]
    )


def test_signed_tag_is_pinned_to_the_digest_that_was_verified(site: Site) -> None:
    """Also one of SWR Enterprise; an image that is not signed stays as it is."""
    site.server.config.write_text(site.server.config.read_text() + "pinDigests: true\n")
    signed, enterprise = site.push("signed/web:1"), site.push("team/web:1")
    site.push("signed/web:2")
    site.sign("signed/web:1", signed)
    site.emulator.state.sign_bundle("team/web", enterprise, site.keys["release"])
    pod_of_three = review(pod(SIGNED, f"{ENTERPRISE}/team/web:1", f"{HOST}/signed/web:2"))

    def written() -> list[str]:
        patch = patch_of(site.server.mutate(pod_of_three))
        return [operation["value"] for operation in patch if operation["op"] == "replace"]

    expected = [f"{SIGNED}@{signed}", f"{ENTERPRISE}/team/web:1@{enterprise}"]
    assert wait_until(lambda: written() == expected)
