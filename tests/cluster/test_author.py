"""An author of Pods against a healthy SWR, through a real API server.

The policy is as lenient as possible: ``onLookupFailure: allow`` and a webhook with ``failurePolicy: Ignore``.
Every failure that counts as SWR's, and every failed call, would therefore be an admission. The simulation
(``tests/simulation/test_author.py``) tries many more cases.
"""

from __future__ import annotations

import http.client
import itertools
import json
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.controlplane import ControlPlane
from tests.emulator.server import Emulator
from tests.support.serving import ServerProcess, make_certificate

HOST = "swr.cn-north-4.myhuaweicloud.com"
LOST, NEVER = "shop/web:1.0", "shop/web:2.0"
SECONDS = 8.0
"""The time that the author has: eight times the life of a trusted record."""

POLICY = """\
digestOnly: resolve
onLookupFailure: allow
cache: {trusted: 1s, refused: 1s}
lookup: {callsPerSecond: 10, concurrency: 16}
"""


class Author:
    """Creates Pods as dry runs, over its own connections, and counts the HTTP statuses by image."""

    def __init__(self, cluster: ControlPlane, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._names = itertools.count()
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.messages: dict[str, str] = {}
        self.admitted: list[str] = []
        self.hung_up = 0

    def create(self, what: str, *images: str) -> int:
        """Create a Pod of these images and return the HTTP status."""
        connection = self._send(images)
        try:
            response = connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
        finally:
            connection.close()
        self.statuses[what, response.status] += 1
        self.messages[what] = answer.get("message", "")
        return response.status

    def _send(self, images: tuple[str, ...]) -> http.client.HTTPSConnection:
        containers = [{"name": f"c{index}", "image": f"{HOST}/{image}"} for index, image in enumerate(images)]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"generateName": "p-"},
            "spec": {"containers": containers},
        }
        parts = urlsplit(self._cluster.url)
        assert parts.hostname is not None
        connection = http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=60, context=ssl._create_unverified_context()
        )
        connection.request(
            "POST",
            f"/api/v1/namespaces/{self._namespace}/pods?dryRun=All",
            json.dumps(pod),
            {"Authorization": "Bearer admin-token", "Content-Type": "application/json"},
        )
        return connection

    def hang_up(self, stop: threading.Event) -> None:
        """Abort each Pod's request during its lookup, so that the API server cancels the review."""
        while not stop.is_set():
            connection = self._send((LOST, f"shop/n{next(self._names)}:1"))
            time.sleep(0.1)
            connection.close()
            self.hung_up += 1

    def flood(self, stop: threading.Event) -> None:
        """Create Pods of new images continuously."""
        while not stop.is_set():
            self.create("flood", *(f"shop/n{next(self._names)}:1" for _ in range(40)))

    def invent_digests(self, stop: threading.Event) -> None:
        """Create Pods of new digests of one repository continuously."""
        while not stop.is_set():
            self.create("digest", f"shop/large@sha256:{next(self._names):064x}")

    def insist(self, image: str, stop: threading.Event) -> None:
        """Create Pods of one image repeatedly."""
        while not stop.is_set():
            if self.create(image, image) == 201:
                self.admitted.append(image)


@pytest.fixture
def author(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Author, Emulator]]:
    """Return an author in a namespace with a lenient webhook, and the SWR that it queries."""
    folder = tmp_path_factory.mktemp("author-")
    namespace = folder.name
    certificate = make_certificate(folder)
    with (
        Emulator() as emulator,
        ServerProcess(folder, emulator.url, certificate, POLICY) as running,
    ):
        for page in range(2_500):
            emulator.state.set_tag(f"shop/large:t{page}", is_trusted=True, digest=f"sha256:{'d' * 64}")
        control_plane.make_namespace(namespace)
        control_plane.register_webhook(
            running.url,
            certificate.ca,
            [namespace],
            "author",
            failurePolicy="Ignore",
            timeoutSeconds=2,
        )
        there = Author(control_plane, namespace)
        control_plane.wait_for("the webhook to be called", lambda: there.create(NEVER, NEVER) == 403)
        there.statuses.clear()
        yield there, emulator
        control_plane.kubectl("delete", "validatingwebhookconfiguration", "author")
        control_plane.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.mark.alone  # a review that other tests delay by more than a second is a failed call
def test_author_cannot_get_untrusted_image_admitted(
    author: tuple[Author, Emulator],
) -> None:
    """Faults B1 to B4: floods, timing, digests and cancelled reviews, each shorter than the queue
    before it.
    """
    there, emulator = author
    assert there.create(LOST, LOST) == 201
    emulator.state.set_tag(LOST, is_trusted=False)
    time.sleep(1.1)
    emulator.set_latency(0.4)
    stop = threading.Event()
    work = [threading.Thread(target=there.flood, args=(stop,)) for _ in range(4)]
    work += [threading.Thread(target=there.invent_digests, args=(stop,)) for _ in range(3)]
    work += [threading.Thread(target=there.hang_up, args=(stop,)) for _ in range(2)]
    work += [threading.Thread(target=there.insist, args=(image, stop)) for image in (LOST, LOST, NEVER)]
    for thread in work:
        thread.start()
    time.sleep(SECONDS)
    stop.set()
    for thread in work:
        thread.join(60)
    assert there.admitted == []
    assert there.hung_up > 20
    assert there.statuses["flood", 201] == there.statuses["digest", 201] == 0
    assert sum(count for (what, _), count in there.statuses.items() if what == LOST) > 5
    emulator.set_latency(0.0)
    deadline = time.monotonic() + 60
    while there.create(LOST, LOST) != 403:
        assert time.monotonic() < deadline, there.messages
    assert "SWR does not mark this tag as trusted" in there.messages[LOST]


@pytest.mark.parametrize("trouble", ["our own limit of calls", "SWR asks for a pause"])
def test_untrusted_image_among_many_uncached_ones_is_not_admitted(
    author: tuple[Author, Emulator], trouble: str
) -> None:
    """Fault A1: the loop stalled, the API server aborted the call, and ``failurePolicy: Ignore`` admitted the
    Pod.
    """
    there, emulator = author
    if trouble == "SWR asks for a pause":
        emulator.break_with("status", match="/cold-", status=429, headers={"Retry-After": "1"})
    for attempt in range(3):
        cold = (f"shop/cold-{attempt}-{index}:1" for index in range(100))
        assert there.create(NEVER, NEVER, *cold) != 201
