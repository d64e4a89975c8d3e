"""Calls an application of the webhook without a socket."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from webhook.server.exchange import Application, Request, Response


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, read as a client reads it."""

    response: Response

    @property
    def status_code(self) -> int:
        return self.response.status

    @property
    def content_type(self) -> str:
        return self.response.content_type

    @property
    def mimetype(self) -> str:
        return self.response.content_type.partition(";")[0]

    @property
    def headers(self) -> dict[str, str]:
        return dict(self.response.headers)

    @property
    def text(self) -> str:
        return self.response.body.decode()

    def get_json(self) -> Any:
        return json.loads(self.response.body)


@dataclass(frozen=True, slots=True)
class AppClient:
    """Sends requests to an application."""

    application: Application

    def open(
        self, path: str, *, method: str, data: bytes | str = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Return the response to one request."""
        target, _, query = path.partition("?")
        body = data.encode() if isinstance(data, str) else data
        content_type = (headers or {}).get("Content-Type", "")
        request = Request(method, target, query, content_type, "x", body, time.monotonic())
        return Answer(self.application(request))

    def get(self, path: str) -> Answer:
        return self.open(path, method="GET")

    def post(self, path: str, *, data: bytes | str, headers: Mapping[str, str] | None = None) -> Answer:
        return self.open(path, method="POST", data=data, headers=headers)
