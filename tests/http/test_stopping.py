"""Shutdown of a process: requests in progress are answered, and no call to its successor fails."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.emulator.server import Emulator
from tests.http.slow_reader import connect_slow_reader, read_socket_queues
from tests.http.wire import handshake, read_answers, read_to_end
from tests.support.balancer import ApiServerClient, Balancer
from tests.support.builders import HOST, pod, review
from tests.support.process_stats import find_worker, wait_until
from tests.support.serving import Certificate, ServerProcess, make_certificate
from webhook.server.worker import BUFFER, REQUEST_GRACE

pytestmark = pytest.mark.slow

IDLE = 25
"""Connections that kube-apiserver keeps open (client-go ``transport/cache.go``)."""

IN_FLIGHT = 50
LATENCY = 1.5
"""Seconds that SWR takes: the longest review."""

QUICK = "lookup: {callsPerSecond: 1000}\n"


def ask_all(server: ServerProcess, images: list[str]) -> tuple[list[threading.Thread], dict[str, object]]:
    """Start a review of each image, each over its own connection; return threads and answers."""
    answers: dict[str, object] = {}

    def ask(image: str, connection: http.client.HTTPSConnection) -> None:
        try:
            body = review(pod(f"{HOST}/{image}"))
            connection.request("POST", "/validate?timeout=10s", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            allowed = json.loads(response.read())["response"]["allowed"]
            answers[image] = (response.status, allowed, response.headers["Connection"])
        except (OSError, http.client.HTTPException, ValueError) as error:
            answers[image] = error
        finally:
            connection.close()

    connections = [server.connect() for _ in images]
    for connection in connections:
        connection.connect()
    pairs = zip(images, connections, strict=True)
    threads = [threading.Thread(target=ask, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    return threads, answers


def test_response_in_progress_is_completed_after_sigterm(server: ServerProcess) -> None:
    """Fault C1: a slow reader has the usual time for a response, and not only that of a request."""
    assert server.process is not None
    with connect_slow_reader(server, server.context()) as sloth:
        sloth.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 60)
        assert wait_until(lambda: any(queues.unsent > BUFFER // 2 for queues in read_socket_queues(server)))
        server.process.send_signal(signal.SIGTERM)
        time.sleep(REQUEST_GRACE + 0.5)
        answers = read_answers(sloth)
    assert len(answers) > 1
    assert answers[-1].headers["connection"] == "close"
    assert len(answers[-1].body) == int(answers[-1].headers["content-length"])
    assert server.process.wait(20) == 0


def test_sigterm_completes_reviews_and_closes_idle_connections(emulator: Emulator, tmp_path: Path) -> None:
    """25 idle clients and 50 reviews that wait for SWR: all answers are right, it exits within 5 s more with
    code 0.
    """
    expected = {f"slow/image-{index}:1": index % 3 > 0 for index in range(IN_FLIGHT)}
    for image, trusted in expected.items():
        emulator.state.set_tag(image, is_trusted=trusted)
    with ServerProcess(tmp_path, emulator.url, make_certificate(tmp_path), QUICK) as server:
        assert server.process is not None
        server.validate(review(pod(f"{HOST}/shop/web:1.0")))  # the first call of all proves the credential
        idle = [server.connect() for _ in range(IDLE)]
        for connection in idle:
            connection.request("GET", "/healthz")
            assert connection.getresponse().read() == b"ok\n"
        emulator.set_latency(LATENCY)
        asked = emulator.calls("/slow/")
        threads, answers = ask_all(server, list(expected))
        ends = time.monotonic() + 20
        while emulator.calls("/slow/") < asked + IN_FLIGHT and time.monotonic() < ends:
            time.sleep(0.01)
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        code = server.process.wait(30)
        took = time.monotonic() - started
        for thread in threads:
            thread.join(30)
        for connection in idle:
            connection.close()
        assert answers == {image: (200, trusted, "close") for image, trusted in expected.items()}
        assert (code, "Traceback" in server.logs()) == (0, False)
        assert took < LATENCY + 5


def test_sigint_stops_at_once_without_traceback(server: ServerProcess) -> None:
    """A terminal sends it to every process of the group, also while connections are open."""
    assert server.process is not None
    open_one = server.connect()
    open_one.connect()
    for process in (server.process.pid, find_worker(server)):
        os.kill(process, signal.SIGINT)
    assert server.process.wait(10) == 0
    open_one.close()
    assert "Traceback" not in server.logs()
    assert server.log_lines()[-1]["message"] == "stopped"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT, signal.SIGTERM])
def test_repeated_stop_signal_is_not_reported_as_crash(server: ServerProcess, number: signal.Signals) -> None:
    """A signal during the exit of the interpreter killed the worker: ``Worker was sent SIGQUIT!``."""
    assert server.process is not None
    arbiter = server.process.pid
    worker = find_worker(server)
    os.kill(arbiter, signal.SIGTERM)
    with contextlib.suppress(ProcessLookupError):
        while server.process.poll() is None:
            os.kill(worker, number)
            time.sleep(0.001)
    assert server.process.wait(10) == 0
    assert server.log_lines()[-1]["message"] == "stopped"


def test_stuck_clients_do_not_delay_shutdown(server: ServerProcess) -> None:
    """Half a request has four seconds to complete; a silent connection has one and a half."""
    stuck = [handshake(server) for _ in range(20)]
    for connection in stuck[:10]:
        connection.sendall(b"POST /validate HTTP/1.1\r\nHost: x\r\nContent-Le")
    time.sleep(0.2)
    started = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started < 8
    assert [read_to_end(connection) for connection in stuck] == [b""] * 20
    for connection in stuck:
        connection.close()


def test_request_after_sigterm_is_answered(server: ServerProcess) -> None:
    """On an open and on a new connection, because the endpoint may be known for a moment longer."""
    assert server.process is not None
    waiting = server.connect()
    waiting.request("GET", "/healthz")
    assert waiting.getresponse().read() == b"ok\n"
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    new = server.connect()
    for connection in (waiting, new):
        body = review(pod(f"{HOST}/shop/web:1.0"))
        connection.request("POST", "/validate", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        assert json.loads(response.read())["response"]["allowed"]
        assert response.headers["Connection"] == "close"
        connection.close()
    assert server.process.wait(30) == 0


def test_request_received_while_worker_is_suspended_is_answered(server: ServerProcess) -> None:
    """The worker is suspended until after the moment at which idle connections are closed."""
    assert server.process is not None
    connection = server.connect()
    connection.request("GET", "/healthz")
    assert connection.getresponse().read() == b"ok\n"
    arbiter = server.process.pid
    (worker,) = map(int, Path(f"/proc/{arbiter}/task/{arbiter}/children").read_text("ascii").split())
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    os.kill(worker, signal.SIGSTOP)
    connection.request("GET", "/healthz")
    time.sleep(1.5)
    os.kill(worker, signal.SIGCONT)
    response = connection.getresponse()
    assert (response.read(), response.headers["Connection"]) == (b"ok\n", "close")
    connection.close()
    assert server.process.wait(30) == 0


def test_busy_connections_end_with_connection_close(server: ServerProcess) -> None:
    """Twenty clients send requests without a pause: an answer tells each that its connection ends."""
    body = review(pod(f"{HOST}/shop/web:1.0"))
    server.validate(body)
    ends: list[str] = []

    def ask() -> None:
        connection = server.connect()
        said = "keep-alive"
        try:
            while said == "keep-alive":
                connection.request("POST", "/validate", body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                response.read()
                said = response.headers["Connection"]
            ends.append(said)
        except (OSError, http.client.HTTPException) as error:
            ends.append(repr(error))
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    assert server.stop() == 0
    for thread in threads:
        thread.join(30)
    assert ends == ["close"] * 20


class Load:
    """Reviews without a pause, while the context is entered, over a pool that has seen a burst.

    Therefore most connections of the pool are idle, as they are in a cluster.
    """

    CLIENTS, BURST = 3, 20

    def __init__(self, client: ApiServerClient, expected: dict[str, bool]) -> None:
        self._client = client
        self._expected = expected
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(index,)) for index in range(self.CLIENTS)]
        self.answered = 0
        self.failures: list[str] = []

    def _ask(self, index: int, count: float = float("inf")) -> None:
        images = list(self._expected)
        while not self._stop.is_set() and count > 0:
            index, count = index + 1, count - 1
            image = images[index % len(images)]
            try:
                status, answer = self._client.post("/validate?timeout=10s", review(pod(f"{HOST}/{image}")))
                allowed = json.loads(answer)["response"]["allowed"]
                if (status, allowed) == (200, self._expected[image]):
                    self.answered += 1
                else:
                    self.failures.append(f"{image}: {status} {answer!r}")
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{image}: {error!r}")

    def __enter__(self) -> Self:
        burst = [threading.Thread(target=self._ask, args=(index, 1)) for index in range(self.BURST)]
        for thread in burst:
            thread.start()
        for thread in burst:
            thread.join(30)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)


@contextlib.contextmanager
def replica(folder: Path, emulator: Emulator, number: int) -> Iterator[ServerProcess]:
    """Return one Pod of the Deployment; all have the same certificate."""
    below = folder / str(number)
    below.mkdir()
    certificate = Certificate(folder / "tls.crt", folder / "tls.key", folder / "ca.crt")
    if number == 0:
        make_certificate(folder)
    with ServerProcess(below, emulator.url, certificate, QUICK) as running:
        yield running


PRE_STOP = 1.0
"""Seconds that represent the chart's ``preStopSeconds``."""

LEAVES = [("during the pause", -PRE_STOP / 2), ("a moment after the signal", 0.5)]


@pytest.mark.parametrize("offset", [case[1] for case in LEAVES], ids=[case[0] for case in LEAVES])
def test_calls_succeed_during_rolling_update(emulator: Emulator, tmp_path: Path, offset: float) -> None:
    """Replace two replicas under load, one after the other; ``offset`` is when an endpoint leaves, by its
    SIGTERM.

    The order is that of the chart: a new replica joins once it is ready, and the old one is deleted. Its
    endpoint leaves some time later, the pause of preStop passes, and SIGTERM follows.
    """
    expected = {"shop/web:1.0": True, "shop/web:2.0": False, "shop/api:1.4": True, "shop/nosuch:1": False}
    with contextlib.ExitStack() as stack:
        old = [stack.enter_context(replica(tmp_path, emulator, number)) for number in (0, 1)]
        balancer = stack.enter_context(Balancer(*(server.port for server in old)))
        client = ApiServerClient(balancer.port, old[0].context())
        stack.callback(client.close)
        with Load(client, expected) as load:
            for number, leaving in enumerate(old, start=2):
                new = stack.enter_context(replica(tmp_path, emulator, number))
                balancer.add(new.port)
                _stop_as_the_kubelet_does(leaving, balancer, offset)
                assert leaving.process is not None
                assert leaving.process.returncode == 0
            time.sleep(0.5)
        assert load.failures == []
        assert load.answered > 100


def _stop_as_the_kubelet_does(server: ServerProcess, balancer: Balancer, offset: float) -> None:
    removal = threading.Timer(PRE_STOP + offset, balancer.remove, (server.port,))
    removal.start()
    time.sleep(PRE_STOP)
    server.stop()
    removal.join()
