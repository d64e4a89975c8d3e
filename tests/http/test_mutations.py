"""``/mutate`` of the running program, with ``/validate`` after it as the API server calls them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.emulator.server import Emulator
from tests.support.builders import HOST, pod, review
from tests.support.json_patch import apply_patch, patch_of
from tests.support.serving import ServerProcess, make_certificate

pytestmark = pytest.mark.slow

POLICY = "pinDigests: true\n"
DIGEST = "sha256:" + "c" * 64
NEWER = "sha256:" + "d" * 64


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    """Return one SWR for all tests of the module."""
    with Emulator() as running:
        yield running


@pytest.fixture(scope="module")
def replicas(
    emulator: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    """Return two replicas, which use the same SWR and share nothing else."""
    with ExitStack() as stack:
        started = []
        for name in ("one", "other"):
            folder = tmp_path_factory.mktemp(name)
            server = ServerProcess(folder, emulator.url, make_certificate(folder), POLICY)
            started.append(stack.enter_context(server))
        yield started[0], started[1]


@pytest.fixture(autouse=True)
def _without_faults(emulator: Emulator) -> Iterator[None]:
    """Each test ends with an SWR without faults."""
    yield
    emulator.mend()


def push(emulator: Emulator, repository: str, digest: str = DIGEST) -> str:
    """Push a trusted tag; return its image."""
    emulator.state.set_tag(f"shop/{repository}:1", is_trusted=True, digest=digest)
    return f"{HOST}/shop/{repository}:1"


def calls(emulator: Emulator, repository: str) -> int:
    """Return the number of calls about the tags of a repository."""
    return emulator.calls(f"/repos/{repository}/tags/")


def admit(first: ServerProcess, second: ServerProcess, image: str) -> tuple[str, dict[str, Any]]:
    """Mutate a new Pod at one replica and validate it at another; return its image and the response."""
    obj = pod(image)
    stored = apply_patch(obj, patch_of(first.mutate(review(obj))))
    (container,) = stored["spec"]["containers"]
    return container["image"], second.validate(review(stored))


def test_both_calls_of_one_replica_make_one_call_to_swr(
    emulator: Emulator, replicas: tuple[ServerProcess, ServerProcess]
) -> None:
    """The digest that is validated is the one that was just read."""
    replica, _ = replicas
    image = push(emulator, "single")
    stored, response = admit(replica, replica, image)
    assert (stored, response["allowed"]) == (f"{image}@{DIGEST}", True)
    assert calls(emulator, "single") == 1


def test_replicas_that_know_a_tag_make_no_call_for_a_pinned_pod(
    emulator: Emulator, replicas: tuple[ServerProcess, ServerProcess]
) -> None:
    """Each replica reads a tag once, as without pinning; a second Pod costs no call at either."""
    first, second = replicas
    image = push(emulator, "shared")
    assert admit(first, second, image)[1]["allowed"]
    assert calls(emulator, "shared") == 2
    for one, other in ((first, second), (second, first), (first, first)):
        stored, response = admit(one, other, image)
        assert (stored, response["allowed"]) == (f"{image}@{DIGEST}", True)
    assert calls(emulator, "shared") == 2


def test_pods_created_at_the_same_moment_make_one_call(
    emulator: Emulator, replicas: tuple[ServerProcess, ServerProcess]
) -> None:
    """A rollout creates many Pods of one image; lookups of both paths are shared."""
    replica, _ = replicas
    image = push(emulator, "burst")
    emulator.set_latency(0.2)
    with ThreadPoolExecutor(20) as pool:
        jobs = [
            pool.submit(call, review(pod(image)))
            for call in (replica.mutate, replica.validate)
            for _ in range(10)
        ]
        assert all(job.result()["allowed"] for job in jobs)
    emulator.set_latency(0.0)
    assert calls(emulator, "burst") == 1


def test_tag_that_moves_between_both_calls_is_denied_and_succeeds_later(
    emulator: Emulator, tmp_path: Path
) -> None:
    """The cached record no longer proves anything when /validate reads it, and SWR has another digest."""
    policy = POLICY + "cache: {trusted: 1s, refused: 1s}\n"
    with ServerProcess(tmp_path, emulator.url, make_certificate(tmp_path), policy) as replica:
        image = push(emulator, "moving")
        obj = pod(image)
        stored = apply_patch(obj, patch_of(replica.mutate(review(obj))))
        push(emulator, "moving", NEWER)
        time.sleep(1.5)  # until the cached record is too old to prove anything
        response = replica.validate(review(stored))
        assert response["status"]["message"] == (
            f'denied by image trust policy: spec.containers[0].image "{image}@{DIGEST}": the pinned digest is '
            "not the digest of this tag in SWR. If you wrote the tag alone, it has just been moved: try again. "
            "Otherwise pin the digest that SWR shows for the tag."
        )
        stored_again, again = admit(replica, replica, image)
        assert (stored_again, again["allowed"]) == (f"{image}@{NEWER}", True)


def test_pod_created_after_push_gets_new_digest_at_every_replica(
    emulator: Emulator, replicas: tuple[ServerProcess, ServerProcess]
) -> None:
    """Both replicas have cached the earlier digest, and trust it for a minute."""
    image = push(emulator, "pushed")
    for one in replicas:
        assert admit(one, one, image)[1]["allowed"]
    push(emulator, "pushed", NEWER)
    time.sleep(2.1)  # cache.pinned
    for one, other in (replicas, replicas[::-1]):
        stored, response = admit(one, other, image)
        assert (stored, response["allowed"]) == (f"{image}@{NEWER}", True)


def test_outage_of_swr_pins_last_known_digest(emulator: Emulator, tmp_path: Path) -> None:
    """Pods that are rescheduled run what was trusted before the outage."""
    policy = POLICY + "cache: {trusted: 1s, refused: 1s}\nlookup: {timeout: 1s}\n"
    with ServerProcess(tmp_path, emulator.url, make_certificate(tmp_path), policy) as replica:
        image = push(emulator, "outage")
        assert admit(replica, replica, image)[1]["allowed"]
        emulator.break_with("503")
        time.sleep(1.5)  # until the cached record is no longer fresh
        stored, response = admit(replica, replica, image)
        assert (stored, response["allowed"]) == (f"{image}@{DIGEST}", True)


def test_mutation_ends_before_its_timeout_while_swr_is_silent(
    emulator: Emulator, replicas: tuple[ServerProcess, ServerProcess]
) -> None:
    """The Pod stays as it is, and ``/validate`` denies it."""
    replica, _ = replicas
    image = push(emulator, "silent")
    emulator.break_with("hang", match="repos/silent")
    began = time.monotonic()
    response = replica.mutate(review(pod(image)), timeout="2s")
    assert time.monotonic() - began < 2
    assert (response["allowed"], "patch" in response) == (True, False)
    assert '"reason":"unknown"' in response["auditAnnotations"]["not-pinned"]
    assert not replica.validate(review(pod(image)), timeout="2s")["allowed"]
