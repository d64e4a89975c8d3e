"""The conversation over a connection in memory: the order of answer, record and end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

import pytest

from tests.http.wire import split_answers
from tests.support.memory_connection import MemoryConnection, UnscheduledScheduler
from webhook.server.connection_table import ConnectionTable
from webhook.server.connections import ClientTimeout, Connection
from webhook.server.conversation import Conversation, Server
from webhook.server.exchange import Request, Response

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Harness(MemoryConnection):
    """A conversation, and everything that happens in it, in order."""

    def __init__(self, pieces: Iterable[bytes], *, stops_after: int = 99) -> None:
        super().__init__(pieces)
        self.events: list[str] = []
        self.send: Callable[[bytes, Callable[[], None]], None] = super().sendall
        self.fails = False
        self._left = stops_after

    def sendall(self, data: bytes, on_wait: Callable[[], None]) -> None:
        self.events.append("send")
        self.send(data, on_wait)

    def answer(self, request: Request) -> Response:
        self.events.append("answer")
        self._left -= 1
        if self.fails:
            raise RuntimeError("detail")
        return Response(200, b"{}")

    def run(self) -> list[tuple[int, str | None]]:
        """Return the status of each answer, and whether it announces the end."""
        server = Server(
            application=self.answer,
            connections=ConnectionTable(10, self.events.append),
            scheduler=UnscheduledScheduler(),
            keep_alive=1.0,
            is_stopping=lambda: self._left <= 0,
            after_response=lambda: self.events.append("record"),
        )
        Conversation(server, cast("Connection", self)).run()
        answers = split_answers(b"".join(self.sent))
        return [(answer.status, answer.headers.get("connection")) for answer in answers]


def test_decision_is_recorded_after_its_answer() -> None:
    """kube-apiserver waits for the answer only."""
    harness = Harness([GET])
    assert harness.run() == [(200, "keep-alive")]
    assert harness.events == ["answer", "send", "record"]


def test_decision_is_recorded_if_its_answer_is_not_sent() -> None:
    """A client that has gone must not hide what was decided."""

    def fail(data: bytes, on_wait: Callable[[], None]) -> None:
        raise ConnectionResetError

    harness = Harness([GET])
    harness.send = fail
    assert harness.run() == []
    assert harness.events == ["answer", "send", "record"]


def test_decision_is_recorded_before_a_wait_for_the_client() -> None:
    """A client that does not read must not delay the record by ten seconds."""

    def wait(data: bytes, on_wait: Callable[[], None]) -> None:
        on_wait()
        harness.events.append("waited")
        raise ClientTimeout

    harness = Harness([GET])
    harness.send = wait
    harness.run()
    assert harness.events == ["answer", "send", "record", "waited", "record", "request"]


def test_answer_after_stop_signal_announces_the_end() -> None:
    """The next request would be lost; it is not read."""
    harness = Harness([GET * 3], stops_after=2)
    assert harness.run() == [(200, "keep-alive"), (200, "close")]


def test_error_of_application_is_answered_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The connection goes on: the request was read completely."""
    harness = Harness([GET * 2])
    harness.fails = True
    assert harness.run() == [(500, "keep-alive"), (500, "keep-alive")]
    assert {record.getMessage() for record in caplog.records} == {"failed to answer a request"}


def test_request_after_a_malformed_one_is_not_read() -> None:
    """Nobody knows where it begins."""
    harness = Harness([b"GET / HTTP/1.1\r\n\r\n" + GET])
    assert harness.run() == [(400, "close")]
    assert harness.events == ["malformed", "send"]
