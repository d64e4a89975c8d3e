"""HTTP exchanges with an endpoint, counted by the metrics."""

from __future__ import annotations

import time

from webhook.deadlines import Deadline
from webhook.errors import TrustLookupError
from webhook.http_client.messages import HttpRequest, HttpResponse, Transport
from webhook.recorder import Recorder


def send_counted(
    transport: Transport, request: HttpRequest, deadline: Deadline, recorder: Recorder, registry: str
) -> HttpResponse:
    """Send a request, and count it and its time as a call to ``registry``, even if it fails.

    Raises:
        TrustLookupError: there was no response.
    """
    started = time.monotonic()
    outcome = "error"
    try:
        response = transport.send(request, deadline)
        outcome = str(response.status)
    except TrustLookupError as error:
        outcome = error.reason
        raise
    finally:
        recorder.record_call(registry, outcome, time.monotonic() - started)
    return response
