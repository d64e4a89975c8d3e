"""Images that are trusted by their signatures, judged by the installed webhook.

Tests with ``site`` share one webhook, and each has a repository of its own. Tests that change keys or policy, or
break the registry, have a webhook of their own: ``own_site``.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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

PREFIX = 'denied by image trust policy: spec.containers[0].image "'

SHORT_CACHE = "cache: {trusted: 1s, refused: 1s}\n"

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Site:
    """A running webhook, the emulator behind it, the keys, and the name of a repository in each organization."""

    server: ServerProcess
    emulator: Emulator
    keys: SigningKeys
    name: str

    def image(self, organization: str = "signed", tag: str = "1") -> str:
        """Return an image as Pods name it; ``team`` is of SWR Enterprise."""
        host = ENTERPRISE if organization == "team" else HOST
        return f"{host}/{organization}/{self.name}:{tag}"

    def push(self, organization: str = "signed", tag: str = "1", **values: Any) -> str:
        """Push an image to registry and API; return its digest."""
        return self.emulator.state.put_image(f"{organization}/{self.name}:{tag}", **values)

    def sign(self, digest: str, key: str = "release", organization: str = "signed") -> None:
        """Sign an image by the format of cosign 2."""
        self.emulator.state.sign_simple(f"{organization}/{self.name}", digest, self.keys[key])

    def sign_bundle(self, digest: str, key: str) -> None:
        """Sign an image of SWR Enterprise by the format of cosign 3."""
        self.emulator.state.sign_bundle(f"team/{self.name}", digest, self.keys[key])

    def probe(self) -> bytes:
        """Return the lines of ``/readyz?verbose``."""
        return self.server.get("/readyz?verbose")[1]

    def denial(self, image: str = "") -> str:
        """Return the message of a denial, empty if the Pod is admitted."""
        response = self.server.validate(review(pod(image or self.image())))
        return "" if response["allowed"] else str(response["status"]["message"])


@contextmanager
def running(folder: Path, certificate: Certificate, more: str = "") -> Iterator[Site]:
    """Run a webhook whose records of tags live a second; ``more`` is added to its policy."""
    with Emulator(State.load(SEED)) as emulator:
        keys = SigningKeys(folder, "release", "security")
        server = ServerProcess(folder, emulator.url, certificate)
        write_signed_policy(server, emulator, keys, SHORT_CACHE + more)
        with server:
            yield Site(server, emulator, keys, "web")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, certificate: Certificate) -> Iterator[Site]:
    with running(tmp_path_factory.mktemp("site"), certificate) as site:
        yield site


@pytest.fixture
def site(shared: Site) -> Site:
    """The shared webhook, with a repository that no other test has."""
    return Site(shared.server, shared.emulator, shared.keys, f"web-{next(_numbers)}")


@pytest.fixture
def own_site(tmp_path: Path, certificate: Certificate) -> Iterator[Site]:
    with running(tmp_path, certificate) as site:
        yield site


def wait_until(condition: Callable[[], bool], seconds: float = 15.0) -> bool:
    """Return whether the condition becomes true in time."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if condition():
            return True
        time.sleep(0.1)
    return False


def test_signed_image_is_admitted_although_it_is_not_marked(site: Site) -> None:
    digest = site.push(is_trusted=False)
    site.sign(digest)
    assert site.denial() == ""
    assert site.denial(f"{site.image()}@{digest}") == ""


def test_unsigned_image_is_denied_although_it_is_marked(site: Site) -> None:
    site.push(is_trusted=True)
    assert site.denial() == (
        f'{PREFIX}{site.image()}": the image is not signed. '
        "Sign it with one of the keys release, security, then try again."
    )


def test_image_signed_by_a_stranger_is_denied(site: Site) -> None:
    digest = site.push()
    site.emulator.state.sign_simple(f"signed/{site.name}", digest, generate_key())
    site.emulator.state.sign_bundle(f"signed/{site.name}", digest, generate_key())
    assert "none of its signatures counts in this cluster" in site.denial()


def test_image_is_admitted_once_it_is_signed(site: Site) -> None:
    """A push comes before its signature; a denial is cached for ``cache.refused`` only."""
    digest = site.push()
    assert site.denial()
    site.sign(digest)
    assert wait_until(lambda: not site.denial())


def test_tag_that_moves_to_an_unsigned_image_is_denied(site: Site) -> None:
    site.sign(site.push())
    assert site.denial() == ""
    repository = f"signed/{site.name}"
    site.emulator.state.registry.repositories[repository].tags.clear()
    unsigned = site.emulator.state.registry.put_image(repository, "1", size=7)
    site.emulator.state.set_tag(f"{repository}:1", digest=unsigned)
    assert wait_until(lambda: "is not signed" in site.denial())


def test_both_needs_the_mark_and_a_signature(site: Site) -> None:
    image = site.image("double")
    digest = site.push("double", is_trusted=False)
    assert "SWR does not mark this tag as trusted" in site.denial(image)
    site.sign(digest, organization="double")
    assert "SWR does not mark this tag as trusted" in site.denial(image)
    site.emulator.state.set_tag(f"double/{site.name}:1", is_trusted=True)
    assert wait_until(lambda: not site.denial(image))


@pytest.mark.parametrize("named", ["tag", "tag and digest", "digest"])
def test_enterprise_image_is_judged_by_bundles(site: Site, named: str) -> None:
    """Signed by the format of cosign 3. SWR's API is not called."""
    digest, other = site.push("team", "1"), site.push("team", "2")
    site.sign_bundle(digest, "security")
    repository = f"{ENTERPRISE}/team/{site.name}"
    forms = {
        "tag": (f"{repository}:1", f"{repository}:2"),
        "tag and digest": (f"{repository}:1@{digest}", f"{repository}:2@{other}"),
        "digest": (f"{repository}@{digest}", f"{repository}@{other}"),
    }
    signed, unsigned = forms[named]
    assert site.denial(signed) == ""
    assert "the image is not signed" in site.denial(unsigned)
    assert site.emulator.calls("/v2/manage/namespaces/team") == 0


def test_enterprise_digest_must_be_that_of_the_tag(site: Site) -> None:
    first, second = site.push("team", "1"), site.push("team", "2")
    for digest in (first, second):
        site.sign_bundle(digest, "release")
    assert "the pinned digest is not the digest of this tag" in site.denial(f"{site.image('team')}@{second}")


def test_enterprise_tag_that_does_not_exist_is_denied(site: Site) -> None:
    assert "tag does not exist" in site.denial(site.image("team"))


def test_signed_image_is_admitted_while_the_registry_is_away(site: Site) -> None:
    """That its digest is signed is cached for an hour; the tag is still looked up."""
    site.sign(site.push())
    assert site.denial() == ""
    site.emulator.break_with("reset", match=f"/v2/signed/{site.name}/")
    time.sleep(1.1)
    assert site.denial() == ""


FAILURES = pytest.mark.parametrize(
    ("kind", "values"),
    [("status", {"status": 503}), ("reset", {}), ("hang", {})],
    ids=["5xx", "reset", "hang"],
)


@FAILURES
def test_stale_trust_is_not_served_if_manifests_of_one_image_fail(
    site: Site, kind: str, values: dict[str, Any]
) -> None:
    """Its author may be the cause."""
    site.sign_bundle(site.push("team"), "release")
    assert site.denial(site.image("team")) == ""
    site.emulator.break_with(kind, match=f"/v2/team/{site.name}/manifests/", **values)
    time.sleep(1.1)
    assert site.denial(site.image("team"))


def test_signers_are_in_the_log_and_the_probe_knows_the_registry(site: Site) -> None:
    site.sign(site.push())
    assert site.denial() == ""

    def logged() -> list[Any]:
        findings = [finding for line in site.server.log_lines() for finding in line.get("findings", ())]
        return [finding.get("signers") for finding in findings if finding["image"] == site.image()]

    assert wait_until(lambda: logged() == [["release"]])
    assert b"registry API swr.cn-north-4.myhuaweicloud.com (signed): last answered" in site.probe()


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_key_that_goes_counts_no_longer(own_site: Site, how: str) -> None:
    """Within the interval in which files are read, although the digest is cached as signed for an hour."""
    own_site.sign(own_site.push())
    assert own_site.denial() == ""
    if how == "removed":
        own_site.keys.file("release").unlink()
    else:
        own_site.keys.replace("release")
    assert wait_until(lambda: "none of its signatures counts in this cluster" in own_site.denial())


def test_other_keys_count_while_one_is_away(own_site: Site) -> None:
    own_site.sign(own_site.push(), "security")
    own_site.keys.file("release").unlink()
    assert wait_until(
        lambda: (
            b"signing key release of swr.cn-north-4.myhuaweicloud.com (signed): does not count"
            in own_site.probe()
        )
    )
    assert own_site.denial() == ""


def change_keys(site: Site, counting: int) -> None:
    """Let a policy with the keys of ``site`` be in force, of which so many count."""
    write_signed_policy(site.server, site.emulator, site.keys, SHORT_CACHE)
    keys = "swr_trust_signature_keys"
    assert wait_until(lambda: site.server.metric(keys, registry=ENTERPRISE, state="counting") == counting)


def test_key_that_is_added_while_the_registry_is_down_stops_no_image(own_site: Site) -> None:
    """Images that run stay admitted. Once their own key is removed, they are denied at once."""
    digest = own_site.push()
    own_site.sign(digest)
    pinned = f"{own_site.image()}@{digest}"
    assert own_site.denial() == own_site.denial(pinned) == ""
    own_site.emulator.break_with("status", status=503)
    time.sleep(1.1)
    own_site.keys.replace("next")
    change_keys(own_site, 3)
    assert own_site.denial() == own_site.denial(pinned) == ""
    own_site.keys.file("security").unlink()
    change_keys(own_site, 2)
    assert own_site.denial() == own_site.denial(pinned) == ""
    del own_site.keys.private["release"], own_site.keys.private["security"]
    change_keys(own_site, 1)
    for image in (own_site.image(), pinned):
        assert "trust is not known" in own_site.denial(image)


def test_key_that_is_added_causes_no_call(own_site: Site) -> None:
    """The signature of the image was verified by another key, which still counts."""
    own_site.sign(own_site.push())
    assert own_site.denial() == ""
    calls = own_site.emulator.calls(f"/v2/signed/{own_site.name}/")
    own_site.keys.replace("next")
    change_keys(own_site, 3)
    assert own_site.denial() == ""
    assert own_site.emulator.calls(f"/v2/signed/{own_site.name}/") == calls


@FAILURES
def test_stale_trust_is_served_while_no_manifest_can_be_read(
    own_site: Site, kind: str, values: dict[str, Any]
) -> None:
    """The front end answers ``GET /v2/`` and issues tokens all the time.

    A busy machine denies once while it hangs, because the webhook may be late itself.
    """
    own_site.sign_bundle(own_site.push("team"), "release")
    assert own_site.denial(own_site.image("team")) == ""
    own_site.emulator.break_with(kind, match="/manifests/", **values)
    time.sleep(1.1)
    tries = 3 if kind == "hang" else 1
    assert any(own_site.denial(own_site.image("team")) == "" for _ in range(tries))
    assert own_site.server.metric("swr_trust_cache_requests_total", result="stale") == 1


def test_image_whose_signatures_cannot_be_read_is_denied(own_site: Site) -> None:
    own_site.sign(own_site.push())
    own_site.emulator.break_with("status", status=503, match="/v2/")
    assert "trust is not known" in own_site.denial()


def test_signed_tag_is_pinned_to_the_digest_that_was_verified(
    tmp_path: Path, certificate: Certificate
) -> None:
    """Also one of SWR Enterprise; an image that is not signed stays as it is."""
    with running(tmp_path, certificate, "pinDigests: true\n") as site:
        signed, enterprise = site.push(), site.push("team")
        site.push(tag="2")
        site.sign(signed)
        site.sign_bundle(enterprise, "release")
        pod_of_three = review(pod(site.image(), site.image("team"), site.image(tag="2")))
        patch = patch_of(site.server.mutate(pod_of_three))
    written = [operation["value"] for operation in patch if operation["op"] == "replace"]
    assert written == [f"{site.image()}@{signed}", f"{site.image('team')}@{enterprise}"]
