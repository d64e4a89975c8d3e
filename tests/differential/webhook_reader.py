"""The conversation of the webhook over a connection in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.differential.readings import Reading, Seen
from tests.http.wire import Answer, split_answers
from tests.support.memory_connection import MemoryConnection, UnscheduledScheduler
from webhook.server.connection_table import ConnectionTable
from webhook.server.conversation import Conversation, Server
from webhook.server.exchange import Request, Response
from webhook.server.heads import Head
from webhook.server.inbox import Inbox

HANDLED = Response(200, b"{}")


@dataclass(slots=True)
class WebhookReading:
    """What the webhook read and answered."""

    requests: list[Seen] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    """The head of each request, after an empty line if there was one. The last one may have been refused."""
    answers: list[Answer] = field(default_factory=list)
    aborted: list[str] = field(default_factory=list)
    """The stage at which the connection was aborted, if it was."""

    @property
    def refusal(self) -> str:
        """The message of the last response, if it refused a request."""
        return json.loads(self.answers[-1].body)["error"] if self.aborted else ""

    def reading(self) -> Reading:
        return Reading(tuple(self.requests), self.refusal)


class _Inbox(Inbox):
    def __init__(self, recv: Callable[[int], bytes], heads: list[bytes]) -> None:
        super().__init__(recv)
        self._heads = heads

    def read_head(self) -> bytes:
        if not self._data:
            self._data = self._recv(4096)
        empty_line = b"\r\n" if self._data[:1] == b"\r" else b""
        head = super().read_head()
        self._heads.append(empty_line + head)
        return head


class _Conversation(Conversation):
    def __init__(self, server: Server, connection: Any, reading: WebhookReading) -> None:
        super().__init__(server, connection)
        self._inbox = _Inbox(connection.recv, reading.heads)
        self._reading = reading

    def _read_request(self, head: Head) -> Request:
        request = super()._read_request(head)
        assert not request.is_truncated
        self._reading.requests.append(Seen(head.method, head.target, head.host, request.body))
        return request


def read_by_webhook(pieces: Iterable[bytes]) -> WebhookReading:
    """Return what the webhook reads of a connection that sends ``pieces`` and then ends its side."""
    reading = WebhookReading()
    connection = MemoryConnection(piece for piece in pieces if piece)
    server = Server(
        application=lambda _: HANDLED,
        connections=ConnectionTable(10, reading.aborted.append),
        scheduler=UnscheduledScheduler(),
        keep_alive=1.0,
        is_stopping=lambda: False,
    )
    _Conversation(server, connection, reading).run()
    # One by one: a response to HEAD announces a body that it does not have.
    reading.answers = [split_answers(data)[0] for data in connection.sent]
    return reading
