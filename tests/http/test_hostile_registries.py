"""A registry that lies, hangs, floods or redirects: a clear answer in time, nothing admitted, nothing stuck."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.emulator.server import SEED, Emulator
from tests.emulator.state import State
from tests.support.builders import pod, review
from tests.support.serving import ServerProcess, make_certificate
from tests.support.signed import ENTERPRISE, HOST, SigningKeys, write_signed_policy

pytestmark = pytest.mark.slow

SETTINGS = (
    "onLookupFailure: allow\nlookup: {timeout: 1s}\ncache: {trusted: 1s, refused: 1s, staleIfError: 0s}\n"
)
"""The policy admits what the failure of SWR itself leaves unknown. No failure that depends on the image may
lead to that."""


class Site:
    """A running webhook, and the registry behind it."""

    def __init__(self, server: ServerProcess, emulator: Emulator, keys: SigningKeys) -> None:
        self.server = server
        self.emulator = emulator
        self.keys = keys

    def push(self, repository: str) -> None:
        """Push an image that is signed in both formats."""
        digest = self.emulator.state.put_image(f"{repository}:1")
        self.emulator.state.sign_simple(repository, digest, self.keys["release"])
        self.emulator.state.sign_bundle(repository, digest, self.keys["release"])

    def decide(self, image: str) -> tuple[bool, str]:
        """Return whether a Pod is admitted, and the finding of its image with the reason."""
        response = self.server.validate(review(pod(image)))
        (found,) = json.loads(response["auditAnnotations"]["findings"])
        return response["allowed"], "/".join(filter(None, (found["finding"], found.get("reason", ""))))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with Emulator(State.load(SEED)) as emulator:
        keys = SigningKeys(folder, "release")
        server = ServerProcess(folder, emulator.url, make_certificate(folder))
        write_signed_policy(server, emulator, keys, SETTINGS)
        with server:
            yield Site(server, emulator, keys)


FAULTS: list[tuple[str, dict[str, Any], str]] = [
    ("hang", {}, "unknown/timeout"),
    ("trickle-headers", {"latency": 0.4}, "unknown/timeout"),
    ("trickle-body", {"latency": 0.4}, "unknown/timeout"),
    ("cut", {}, "unknown/unavailable"),
    ("reset", {}, "unknown/unavailable"),
    ("huge", {}, "untrusted/bad-signature"),
    ("gzip", {}, "unknown/malformed"),
    ("redirect", {"body": "http://169.254.169.254/"}, "unknown/unavailable"),
    ("status", {"status": 200, "body": "<html>"}, "untrusted/bad-signature"),
    ("status", {"status": 401}, "unknown/forbidden"),
    ("status", {"status": 403}, "unknown/forbidden"),
    ("status", {"status": 500}, "unknown/unavailable"),
    ("status", {"status": 204}, "unknown/unavailable"),
]


@pytest.mark.parametrize(
    ("kind", "values", "finding"),
    FAULTS,
    ids=[f"{kind} {values.get('status', '')}" for kind, values, _ in FAULTS],
)
def test_registry_that_fails_for_one_image_admits_nothing(
    site: Site, kind: str, values: dict[str, Any], finding: str
) -> None:
    """The image's author may be the cause. Other images are judged meanwhile, and this one afterwards."""
    number = FAULTS.index((kind, values, finding))
    repository, other = f"signed/faulty-{number}", f"signed/other-{number}"
    site.push(repository)
    site.push(other)
    site.emulator.break_with(kind, match=f"/v2/{repository}/", **values)
    try:
        assert site.decide(f"{HOST}/{repository}:1") == (False, finding)
        assert site.decide(f"{HOST}/{other}:1") == (True, "trusted")
    finally:
        site.emulator.mend()
    ends = time.monotonic() + 10
    while not (admitted := site.decide(f"{HOST}/{repository}:1")[0]) and time.monotonic() < ends:
        time.sleep(0.2)
    assert admitted


def test_redirect_of_a_blob_to_itself_ends(site: Site) -> None:
    repository = "signed/loop"
    site.push(repository)
    site.emulator.break_with(
        "redirect", match=f"/v2/{repository}/blobs/", body=f"{site.emulator.url}/v2/{repository}/blobs/x"
    )
    try:
        assert site.decide(f"{HOST}/{repository}:1") == (False, "unknown/unavailable")
    finally:
        site.emulator.mend()


def test_registry_that_names_another_digest_the_second_time_admits_nothing_else(site: Site) -> None:
    """What was resolved is verified and reported: the tag is resolved once for a review."""
    signed = site.emulator.state.put_image("team/fickle:1")
    unsigned = site.emulator.state.registry.put_image("team/fickle", "2", size=3)
    site.emulator.state.sign_bundle("team/fickle", signed, site.keys["release"])
    tags = site.emulator.state.registry.repositories["team/fickle"].tags
    tags["1"] = unsigned
    assert site.decide(f"{ENTERPRISE}/team/fickle:1") == (False, "untrusted/unsigned")
    assert site.decide(f"{ENTERPRISE}/team/fickle:1@{unsigned}") == (False, "untrusted/unsigned")
    assert site.decide(f"{ENTERPRISE}/team/fickle:1@{signed}") == (False, "untrusted/unsigned")
