"""Connection limits: waiting reviews neither take all connections nor outlast their callers."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.emulator.server import Emulator
from tests.http.few_connections import PLACES
from tests.http.slow_reader import connect_slow_reader, send_until_blocked
from tests.http.wire import connect
from tests.support.builders import HOST, UID, pod, review
from tests.support.process_stats import wait_until
from tests.support.serving import ServerProcess, make_certificate
from webhook.server.body_budget import LARGE_SHARE, SMALL
from webhook.server.connection_table import CROWDED
from webhook.server.connections import WRITE_SECONDS
from webhook.server.conversation import READ_AT_ONCE
from webhook.server.exchange import JSON
from webhook.server.reviews import MAX_BODY

pytestmark = pytest.mark.slow

KNOWN = review(pod(f"{HOST}/shop/web:1.0"))
POLICY = "cache: {trusted: 1h}\nlookup: {timeout: 20s}\n"
IN_FLIGHT = "swr_trust_admission_requests_in_flight"
HELD = "swr_trust_request_body_bytes"
PAGE = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


@contextlib.contextmanager
def waiting(server: ServerProcess, count: int) -> Iterator[list[threading.Thread]]:
    """Let so many reviews wait for SWR."""
    threads = [
        threading.Thread(target=server.validate, args=(review(pod(f"{HOST}/shop/cold:1")), "30s"))
        for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    assert wait_until(lambda: server.metric(IN_FLIGHT) >= count)
    try:
        yield threads
    finally:
        for thread in threads:
            thread.join()


def test_waiting_reviews_leave_connections_for_others(emulator: Emulator, tmp_path: Path) -> None:
    """Fault C2: a client of the port could take all connections with reviews of cold images for as long as
    SWR took.

    Once three quarters are taken, cached images are answered and other reviews are told to retry while the
    first ones wait.
    """
    certificate = make_certificate(tmp_path)
    with ServerProcess(
        tmp_path, emulator.url, certificate, POLICY, inject="tests.http.few_connections"
    ) as server:
        assert server.validate(KNOWN)["allowed"]
        emulator.set_latency(12.0)
        names = itertools.count()
        with waiting(server, int(PLACES * CROWDED)) as threads:
            for _ in range(PLACES):
                cold = server.validate(review(pod(f"{HOST}/shop/api-{next(names)}:1")), "30s")
                assert (cold["uid"], cold["allowed"], cold["status"]["code"]) == (UID, False, 503)
                assert "too busy" in cold["status"]["message"]
                assert server.validate(KNOWN)["allowed"]
            assert all(thread.is_alive() for thread in threads)
        emulator.set_latency(0.0)
        assert server.validate(review(pod(f"{HOST}/shop/api:1.4")), "30s")["allowed"]


def test_body_waiting_for_budget_is_denied_before_call_timeout(emulator: Emulator, tmp_path: Path) -> None:
    """Fault C2: it waited two seconds, which is the whole ``timeoutSeconds: 2`` of a call, so that the call
    failed.
    """
    obj = pod(f"{HOST}/shop/web:1.0")
    obj["metadata"]["annotations"] = {"padding": "x" * (MAX_BODY - 20_000)}
    body = review(obj)
    head = (
        f"POST /validate HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    share = len(body) - SMALL
    with (
        ServerProcess(tmp_path, emulator.url, make_certificate(tmp_path)) as server,
        contextlib.ExitStack() as opened,
    ):
        for _ in range(LARGE_SHARE // share):
            half = server.connect()
            opened.callback(half.close)
            half.connect()
            half.sock.sendall(head.encode() + body[:-1])
        full = LARGE_SHARE // share * share
        assert wait_until(lambda: server.metric("swr_trust_request_body_bytes") > full)
        connection = server.connect(timeout=2.0)
        opened.callback(connection.close)
        connection.request("POST", "/validate?timeout=2s", body, {"Content-Type": JSON})
        assert (
            f'"uid":"{UID}","allowed":false,"status":{{"code":429'.encode() in connection.getresponse().read()
        )


def test_body_waiting_for_budget_is_not_evicted(emulator: Emulator, tmp_path: Path) -> None:
    """Fault C2: a whole review over a new connection was evicted as the oldest without a request, and its
    call failed.
    """
    obj = pod(f"{HOST}/shop/web:1.0")
    obj["metadata"]["annotations"] = {"padding": "x" * (MAX_BODY - 20_000)}
    body = review(obj)
    share = len(body) - SMALL
    count = LARGE_SHARE // share
    certificate = make_certificate(tmp_path)
    with (
        ServerProcess(tmp_path, emulator.url, certificate, inject="tests.http.few_connections") as server,
        contextlib.ExitStack() as opened,
    ):
        for _ in range(count):
            half = server.connect()
            opened.callback(half.close)
            half.request("GET", "/healthz")  # a connection with a request stays
            half.getresponse().read()
            half.putrequest("POST", "/validate")
            half.putheader("Content-Type", JSON)
            half.putheader("Content-Length", str(len(body)))
            half.endheaders(body[:-1])
        held = "swr_trust_request_body_bytes"
        read = SMALL + (len(body) - 1 - SMALL) // READ_AT_ONCE * READ_AT_ONCE
        assert wait_until(lambda: server.metric(held) >= count * read)
        answers: list[dict[str, Any]] = []
        caller = threading.Thread(target=lambda: answers.append(server.validate(body, "10s")))
        caller.start()
        full = LARGE_SHARE + (count + 1) * SMALL
        assert wait_until(lambda: server.metric(held) > full - READ_AT_ONCE)
        for _ in range(PLACES):
            opened.callback(connect(server).close)
            # One after the other, so that each is accepted before the next.
            assert server.get("/healthz")[0] == 200
        caller.join()
        assert server.metric("swr_trust_connections_cut_total", stage="full") > 0
    assert [(answer["uid"], answer["status"]["code"]) for answer in answers] == [(UID, 429)]


def test_client_that_does_not_read_is_evicted_first(emulator: Emulator, tmp_path: Path) -> None:
    """Fault C1: slow readers kept their places for ten seconds each, so that kube-apiserver's calls
    failed.
    """
    certificate = make_certificate(tmp_path)
    with (
        ServerProcess(tmp_path, emulator.url, certificate, inject="tests.http.few_connections") as server,
        contextlib.ExitStack() as opened,
    ):
        regular = server.connect()
        opened.callback(regular.close)
        regular.request("GET", "/healthz")
        assert regular.getresponse().read() == b"ok\n"
        context = server.context()
        for _ in range(PLACES + 10):
            sloth = opened.enter_context(connect_slow_reader(server, context))
            sloth.sendall(PAGE * 60)
            assert server.get("/healthz")[0] == 200
        assert server.metric("swr_trust_connections_cut_total", stage="full") > 0
        regular.request("GET", "/healthz")
        assert regular.getresponse().read() == b"ok\n"


def test_unread_response_does_not_hold_body_budget(server: ServerProcess) -> None:
    """Fault C2: the body was already freed, but others were denied for lack of its share."""
    body = b"x" * SMALL
    post = b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    with connect_slow_reader(server, server.context()) as sloth:
        send_until_blocked(sloth, post + body, 2000)
        assert wait_until(lambda: server.metric(HELD) == 0, WRITE_SECONDS / 2)


def test_bodies_waiting_for_budget_leave_connections_for_others(emulator: Emulator, tmp_path: Path) -> None:
    """Fault C2: they took all connections for as long as a body may wait, and new calls failed."""
    obj = pod(f"{HOST}/shop/web:1.0")
    obj["metadata"]["annotations"] = {"padding": "x" * (SMALL + READ_AT_ONCE)}
    body = review(obj)
    crowd = int(PLACES * CROWDED)
    certificate = make_certificate(tmp_path)
    with (
        ServerProcess(tmp_path, emulator.url, certificate, inject="tests.http.long_timeouts") as server,
        contextlib.ExitStack() as opened,
    ):
        for _ in range(crowd):
            one = server.connect()
            opened.callback(one.close)
            one.request("POST", "/validate?timeout=30s", body, {"Content-Type": JSON})
        assert wait_until(lambda: server.metric(HELD) == crowd * SMALL)
        late = server.validate(body, "30s")
        assert (late["uid"], late["status"]["code"]) == (UID, 429)
        assert server.metric(HELD) == crowd * SMALL  # all the others are still waiting
