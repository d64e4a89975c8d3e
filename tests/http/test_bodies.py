"""Bodies at their size limits: memory stays within the chart's limit, and small reviews are answered."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import socket
import string
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import yaml

from tests.emulator.server import Emulator
from tests.support.builders import HOST, UID, pod, review
from tests.support.process_stats import find_worker, read_process_stats, wait_until
from tests.support.serving import ROOT, ServerProcess, make_certificate
from webhook.admission.review import read_beginning, read_review
from webhook.server.exchange import JSON
from webhook.server.reviews import MAX_BODY

pytestmark = pytest.mark.slow

VALUES = yaml.safe_load((ROOT / "charts/swr-trust-webhook/values.yaml").read_text(encoding="utf-8"))
LIMIT = int(VALUES["resources"]["limits"]["memory"].removesuffix("Mi"))
"""Mebibytes of the chart's memory limit."""

CROWD = 60
TRIES = 3
BUSY = "too many large objects"
"""This stands in the answer to a review whose body found no room in time. How many there are depends on the
machine's speed.
"""
PROMPT = 5.0
"""Seconds within which a cached review is answered on any machine. On a quiet one it is 100 ms: `make bench`.
"""


@pytest.fixture
def server(emulator: Emulator, tmp_path: Path) -> Iterator[ServerProcess]:
    """Return a webhook that has already answered a cached review."""
    policy = "cache: {trusted: 1h}\nlookup: {timeout: 5s, callsPerSecond: 1000}\n"
    with ServerProcess(tmp_path, emulator.url, make_certificate(tmp_path), policy) as running:
        assert running.validate(SMALL)["allowed"]
        yield running


SMALL = review(pod(f"{HOST}/shop/web:1.0"))


def large(image: str = f"{HOST}/shop/web:1.0", **obj: Any) -> bytes:
    """Return a review near the maximum size, most of it an annotation that is decoded."""
    parsed = {**pod(image), **obj}
    parsed["metadata"]["annotations"] = {"padding": "x" * (MAX_BODY - 20_000)}
    return review(parsed)


class BackgroundReviews:
    """Sends a cached review repeatedly, and measures the memory of the process."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._worker = find_worker(server)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.slowest = 0.0
        self.resident = 0.0
        self.wrong: list[object] = []

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                if not self._server.validate(SMALL)["allowed"]:
                    self.wrong.append("refused")
            except (OSError, AssertionError) as error:
                self.wrong.append(error)
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.resident = max(self.resident, read_process_stats(self._worker).resident)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def check(self, prompt: float = PROMPT) -> None:
        """Assert that the cached review was always answered, and that memory stayed within the chart's
        limit.
        """
        assert self.wrong == []
        assert self.slowest < prompt
        assert self.resident < LIMIT


def send_concurrently(
    server: ServerProcess, body: bytes | Iterator[bytes], count: int = CROWD, timeout: str = "10s"
) -> list[dict[str, Any]]:
    """Send one review, or the next one each time, over several connections at once; return the responses."""
    bodies = itertools.repeat(body) if isinstance(body, bytes) else body
    answers: list[dict[str, Any]] = []
    threads = [
        threading.Thread(target=lambda: answers.append(server.validate(next(bodies), timeout)))
        for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_large_reviews_waiting_for_swr_stay_within_memory_limit(
    server: ServerProcess, emulator: Emulator
) -> None:
    """Fault C2: 60 reviews of 6.9 MB took 650 to 740 MiB. A review over the budget is told to retry, with its
    uid.
    """
    emulator.set_latency(2.0)
    with BackgroundReviews(server) as beside:
        answers = send_concurrently(server, large(f"{HOST}/shop/api:1.4"))
    beside.check()
    assert {answer["uid"] for answer in answers} == {UID}
    refused = [answer["status"] for answer in answers if not answer["allowed"]]
    assert 0 < len(refused) < CROWD
    assert {status["code"] for status in refused} <= {429, 503}
    assert any(BUSY in status["message"] for status in refused)
    assert server.metric("swr_trust_busy_reviews_total") > 0
    assert wait_until(lambda: server.metric("swr_trust_request_body_bytes") <= len(SMALL) + 1000)


def many_annotations(count: int = 87_381) -> dict[str, Any]:
    """Return metadata with so many empty annotations: 9 bytes each in a body, and 84 decoded."""
    letters = string.ascii_letters + string.digits + "-_"
    keys = itertools.islice(itertools.product(letters, repeat=3), count)
    return {"annotations": {"".join(key): "" for key in keys}}


def many_owners(count: int = 39_000) -> dict[str, Any]:
    """Return metadata with so many owners, none of which is a controller: 20 bytes each, and 360 decoded."""
    return {"ownerReferences": [{"uid": f"{n:x}", "name": "o"} for n in range(count)]}


def many_groups(count: int = 150_000) -> list[str]:
    """Return so many groups of a user: 5 bytes each, and 59 decoded."""
    return ["ab"] * count


def compact(body: bytes) -> bytes:
    """Return a body as kube-apiserver writes it, without spaces."""
    return json.dumps(json.loads(body), separators=(",", ":")).encode()


COLD = f"{HOST}/shop/api:1.4"
ELEMENTS = {
    "annotations": lambda: review({**pod(COLD), "metadata": many_annotations()}),
    "an old object": lambda: review(pod(COLD), old={"metadata": many_annotations()}, operation="UPDATE"),
}
TOO_MANY_ELEMENTS = {
    "owners": lambda: review({**pod(COLD), "metadata": many_owners()}),
    "groups": lambda: review(pod(COLD), groups=many_groups()),
}


def send_crowd(server: ServerProcess, body: bytes, timeout: str) -> list[str]:
    """Send 110 reviews at once within the memory limit; return the answers to those that found room in time."""
    with BackgroundReviews(server) as beside:
        answers = send_concurrently(server, body, 110, timeout)
    beside.check()
    assert {answer["uid"] for answer in answers} == {UID}
    messages = [answer["status"]["message"] for answer in answers]
    return [message for message in messages if BUSY not in message]


@pytest.mark.parametrize("what", ELEMENTS)
def test_many_element_reviews_waiting_for_swr_stay_within_memory_limit(
    server: ServerProcess, emulator: Emulator, what: str
) -> None:
    """Fault C2: 93 reviews of 787 kB fit into the budget, but took up to 1,070 MiB when decoded."""
    emulator.set_latency(6.0)
    assert len(send_crowd(server, compact(ELEMENTS[what]()), "5s")) > 50


@pytest.mark.parametrize("what", TOO_MANY_ELEMENTS)
def test_reviews_of_too_many_elements_stay_within_memory_limit(server: ServerProcess, what: str) -> None:
    """Fault C2: such reviews took up to 60 times the memory of their bodies when decoded."""
    reasons = send_crowd(server, compact(TOO_MANY_ELEMENTS[what]()), "10s")
    assert {"it has more than 100000 elements" in reason for reason in reasons} == {True}


@pytest.mark.alone
def test_many_image_reviews_waiting_for_swr_stay_within_memory_limit(
    emulator: Emulator, tmp_path: Path
) -> None:
    """Fault C2: 1,400 reviews of 18 KB and 200 images each took 689 MiB, and stopped the loop for 0.9 s."""
    count, names = 1490, itertools.count()  # nearly all that may wait
    many = (pod(*(f"{HOST}/shop/n{next(names)}:1" for _ in range(199)), COLD) for _ in range(count))
    bodies = [review(obj, namespace="noisy") for obj in many]
    policy = "cache: {trusted: 1h}\nlookup: {timeout: 12s, callsPerSecond: 20}\n"
    with ServerProcess(tmp_path, emulator.url, make_certificate(tmp_path), policy) as server:
        assert server.validate(SMALL)["allowed"]
        emulator.set_latency(9.0)
        with BackgroundReviews(server) as beside:
            # They wait for so long that all of them are there at the same time, also on a slow machine.
            answers = send_concurrently(server, iter(bodies), count, "28s")
    beside.check(prompt=10.0)  # SWR takes 9 s, and 1,490 threads of this process must run, too
    assert beside.resident < LIMIT * 3 / 4  # large bodies, which none of these is, may take memory meanwhile
    assert len(answers) == count
    assert {(answer["uid"], answer["allowed"]) for answer in answers} == {(UID, False)}


@pytest.mark.alone
def test_small_reviews_waiting_for_swr_do_not_abort_connections(
    server: ServerProcess, emulator: Emulator
) -> None:
    """Fault C2: 512 reviews of 64 KiB took the whole share, and other calls were aborted and failed."""
    emulator.set_latency(8.0)
    parsed = pod(f"{HOST}/shop/api:1.4")
    parsed["metadata"]["annotations"] = {"padding": "x" * 65_000}
    with BackgroundReviews(server) as beside:
        answers = send_concurrently(server, review(parsed), 900)
    beside.check()
    assert len(answers) == 900
    assert {answer["uid"] for answer in answers} == {UID}
    assert {answer["status"]["code"] for answer in answers if not answer["allowed"]} <= {429, 503}
    assert server.metric("swr_trust_connections_cut_total", stage="full") == 0


def open_raw(server: ServerProcess, head: bytes) -> socket.socket:
    """Open a TLS connection and send the beginning of a request."""
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    connection = server.context().wrap_socket(plain, server_hostname="localhost")
    with contextlib.suppress(OSError):  # it may have been evicted in the meantime
        connection.sendall(head)
    return connection


@pytest.mark.parametrize(
    ("count", "sent"),
    [(CROWD, MAX_BODY - 100_000), (900, 64 * 1024)],
    ids=["of large bodies", "of many bodies"],
)
def test_partial_bodies_stay_within_memory_limit(server: ServerProcess, count: int, sent: int) -> None:
    """Fault C2: half-sent bodies took as much memory as whole ones, for as long as a request may take."""
    head = (
        b"POST /validate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        + f"Content-Length: {MAX_BODY}\r\n\r\n".encode()
    )
    part = head + large()[:sent]
    opened: list[socket.socket] = []
    threads = [threading.Thread(target=lambda: opened.append(open_raw(server, part))) for _ in range(count)]
    with BackgroundReviews(server) as beside:
        for start in range(0, count, 50):
            for thread in threads[start : start + 50]:
                thread.start()
            for thread in threads[start : start + 50]:
                thread.join(60)
        time.sleep(1.0)
    beside.check()
    for connection in opened:
        connection.close()


def test_bodies_of_many_elements_stay_within_memory_limit(server: ServerProcess) -> None:
    """Fault C1: 7 MiB of empty containers took 748 MiB and 1.4 s of the loop."""
    shell = review({"spec": "HERE"}).decode()
    room = (MAX_BODY - len(shell)) // 3 - 10
    body = shell.replace('"HERE"', '{"containers":[' + "{}," * room + "{}]}").encode()
    with BackgroundReviews(server) as beside:
        answers = send_concurrently(server, body, 20)
    beside.check()
    assert {answer["allowed"] for answer in answers} == {False}
    assert server.metric("swr_trust_loop_stall_seconds") < PROMPT


def measure_burst_stall(
    server: ServerProcess, body: bytes, count: int, timeout: str = "10s", end: int = 100
) -> float:
    """Let the last ``end`` bytes of so many calls arrive at once; return the length of the stall."""
    head = (
        f"POST /validate?timeout={timeout} HTTP/1.1\r\nHost: x\r\n"
        f"Content-Type: {JSON}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    call = head.encode() + body
    split = max(0, len(call) - end)
    opened = [open_raw(server, call[:split]) for _ in range(count)]
    for connection in opened:
        connection.sendall(call[split:])
    for connection in opened:
        assert b"200 OK" in connection.recv(100)
        connection.close()
    return server.metric("swr_trust_loop_stall_seconds")


@pytest.mark.alone
def test_burst_of_bodies_does_not_stall_loop(emulator: Emulator, tmp_path: Path) -> None:
    """Fault C3: 350 bodies of 200 KB were read without a yield, which stalled the loop for 1.2 s."""
    body = compact(review({**pod(f"{HOST}/shop/web:1.0"), "metadata": many_annotations(22_000)}))
    count = 350
    stall, at_a_stretch = math.inf, 0.0
    for attempt in range(TRIES):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        with ServerProcess(folder, emulator.url, make_certificate(folder)) as server:
            assert server.validate(SMALL)["allowed"]
            began = time.thread_time()
            for _ in range(count):
                read_review(body)
            at_a_stretch = time.thread_time() - began
            stall = measure_burst_stall(server, body, count)
        if stall < at_a_stretch / 2:  # a busy machine causes a long stall once, a fault causes it every time
            break
    assert stall < at_a_stretch / 2


@pytest.mark.alone
def test_burst_of_expired_reviews_does_not_stall_loop(emulator: Emulator, tmp_path: Path) -> None:
    """Fault C3: 250 reviews reached their deadlines together, which stalled the loop for five seconds."""
    extra = "[" + "[[]]," * 6_000 + "0]" + ', "object": 1' * 8
    obj = {"spec": "DEEP", "metadata": {"annotations": {"a": "x" * 10_000}}}
    body = review(obj, userInfo={"username": "dev", "extra": {"a": "EXTRA"}}).decode()
    body = body.replace('"EXTRA"', extra).replace('"DEEP"', "[" * 600 + "]" * 600)
    stall, at_a_stretch = math.inf, 0.0
    for attempt in range(TRIES):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        with ServerProcess(folder, emulator.url, make_certificate(folder)) as server:
            assert server.validate(SMALL)["allowed"]
            began = time.thread_time()
            for _ in range(100):
                assert read_beginning(body.encode(), "why") is not None
            each = (time.thread_time() - began) / 100
            stall = measure_burst_stall(server, body.encode(), 400, "1s", MAX_BODY)
            at_a_stretch = each * server.metric("swr_trust_busy_reviews_total")
        if stall < at_a_stretch / 2:  # a busy machine causes a long stall once, a fault causes it every time
            break
    assert stall < at_a_stretch / 2


def test_pod_with_too_many_images_does_not_delay_other_reviews(emulator: Emulator, tmp_path: Path) -> None:
    """Fault C3: a Pod of 1,000 names under 200 rules and 200 exemptions stalled the loop for up to three
    seconds.
    """
    rules = "".join(
        f'  - {{name: "r{n}", mode: audit, namespaces: ["team-{n}-*"], images: ["{HOST}/t{n}/**"]}}\n'
        for n in range(200)
    )
    exemptions = "".join(
        f'  - {{name: "e{n}", reason: x, images: ["{HOST}/x{n}/*", "x{n}/y"]}}\n' for n in range(200)
    )
    policy = (
        f"rules:\n{rules}exemptions:\n{exemptions}cache: {{trusted: 1h}}\nlookup: {{callsPerSecond: 20}}\n"
    )
    with ServerProcess(tmp_path, emulator.url, make_certificate(tmp_path), policy) as server:
        assert server.validate(SMALL)["allowed"]
        bodies = [
            review(pod(*(f"{HOST}/shop/n{pods}-{index}:1" for index in range(images))), namespace="noisy")
            for pods, images in enumerate([1000, 200, 200, 200])
        ]
        with BackgroundReviews(server) as beside:
            answers = [answer for body in bodies for answer in send_concurrently(server, body, 20, "5s")]
        beside.check()
        assert {answer["allowed"] for answer in answers} == {False}
        assert json.dumps(answers).count("it has 1000 images, and the limit is 200") == 20
