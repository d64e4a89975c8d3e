"""Responses of SWR."""

from __future__ import annotations

import json
from typing import Any

from webhook.http_client.messages import HttpResponse


def respond(status: int, body: Any = b"", **headers: str) -> HttpResponse:
    """Return a response. A body that is not bytes is written as JSON; ``_`` in the name of a header is ``-``."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpResponse(status, {name.replace("_", "-"): value for name, value in headers.items()}, content)
